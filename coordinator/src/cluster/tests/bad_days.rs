//! What goes wrong, who is named, and what follows.

use std::time::Duration;

use super::world::{World, ends, exit, run, starts};
use crate::cluster::{Blame, ByRank, Effect, Event, JobState, OfRank, RankRun};

fn failed(blame: Blame, message: &str, culprit: Option<u32>) -> ByRank {
    ByRank::Failed { blame, message: message.to_owned(), culprit, step: 3 }
}

/// Four ranks on two nodes.
fn world() -> (World, String, Vec<RankRun>) {
    let mut world = World::new();
    world.join("a", 2);
    world.join("b", 2);
    let job = world.submit(4);
    let runs = world.train(&job, 0);
    world.step(&runs[0], 3);
    (world, job, runs)
}

#[test]
fn a_rank_that_dies_ends_the_attempt_and_is_named_with_all_that_is_known() {
    let (mut world, job, runs) = world();
    assert_eq!(ends(&world.of(&runs[2], exit(None, Some(9)))), [0, 1, 3]);
    assert_eq!(world.state(&job), JobState::Running, "the others have not ended yet");
    for rank in [0, 1, 3] {
        world.of(&runs[rank], exit(None, Some(15)));
    }
    let note = world.notes()[0].to_owned();
    for part in ["attempt 1 ended: rank 2 on ", "signal 9 (SIGKILL", "its last line", "restart 1 of 2"] {
        assert!(note.contains(part), "{part} is missing in {note}");
    }
    assert_eq!((world.state(&job), world.job(&job).n_attempts), (JobState::Starting, 2));
    world.assert_kept();
}

#[test]
fn an_attempt_ends_within_five_seconds_whatever_the_others_do() {
    let (mut world, job, runs) = world();
    world.of(&runs[2], exit(None, Some(9)));
    world.live(4, &["a", "b"], &runs);
    assert_ne!(world.state(&job), JobState::Running);
    let held: usize = world.cluster.nodes().map(|node| node.held.len()).sum();
    assert_eq!(held, 3, "processes that have not ended keep their seats");
    assert!(world.job(&job).reason.contains("needs 4 cores, 1 are free"), "{}", world.job(&job).reason);
}

#[test]
fn who_blames_another_rank_is_not_the_one_named() {
    let (mut world, _, runs) = world();
    let told = world.by(&runs[0], failed(Blame::Peer, "rank 2 closed the connection", Some(2)));
    assert_eq!(ends(&told), [1, 3], "the blamed one is heard first");
    world.by(&runs[2], failed(Blame::World, "the disk is full", None));
    world.of(&runs[2], exit(Some(1), None));
    world.live(2, &["a", "b"], &[]);
    for rank in [0, 1, 3] {
        world.of(&runs[rank], exit(Some(1), None));
    }
    let note = world.notes()[0].to_owned();
    assert!(note.starts_with("attempt 1 ended: rank 2 on "), "{note}");
    assert!(note.contains(" failed (exit code 1): the disk is full"), "{note}");
}

#[test]
fn blame_is_followed_to_the_last_one_even_if_that_one_says_nothing() {
    let (mut world, _, runs) = world();
    world.by(&runs[0], failed(Blame::Peer, "rank 1 left", Some(1)));
    world.by(&runs[1], failed(Blame::Peer, "rank 3 does not answer", Some(3)));
    assert_eq!(ends(&world.live(2, &["a", "b"], &[])), [0, 1], "they had their time");
    world.live(3, &["a", "b"], &[]);
    let note = world.notes()[0].to_owned();
    assert!(note.contains("rank 3 on "), "{note}");
    assert!(note.contains("failed its peers, says rank 1: rank 3 does not answer"), "{note}");
}

#[test]
fn ranks_that_blame_each_other_do_not_confuse_anybody() {
    let (mut world, job, runs) = world();
    world.by(&runs[0], failed(Blame::Peer, "rank 1 left", Some(1)));
    world.by(&runs[1], failed(Blame::Peer, "rank 0 left", Some(0)));
    world.live(5, &["a", "b"], &[]);
    assert_ne!(world.state(&job), JobState::Running);
    assert!(world.notes()[0].contains("failed its peers"), "{}", world.notes()[0]);
}

#[test]
fn what_the_user_must_change_is_not_tried_again() {
    let (mut world, job, runs) = world();
    world.by(&runs[0], failed(Blame::Peer, "rank 1 left", Some(1)));
    world.by(&runs[1], failed(Blame::User, "data.train holds no text", None));
    for run in &runs {
        world.of(run, exit(Some(1), None));
    }
    assert_eq!((world.state(&job), world.job(&job).restarts), (JobState::Failed, 0));
    assert!(world.job(&job).reason.contains("data.train holds no text"), "{}", world.job(&job).reason);
}

#[test]
fn restarts_are_counted_and_then_it_is_enough_until_somebody_asks() {
    let mut world = World::new();
    world.join("a", 1);
    let job = world.submit(1);
    for attempt in 1..=3 {
        let runs = world.train(&job, 0);
        assert_eq!(runs[0].attempt, attempt);
        world.of(&runs[0], exit(Some(3), None));
    }
    assert_eq!((world.state(&job), world.job(&job).restarts), (JobState::Failed, 2));
    assert!(world.job(&job).reason.contains("it was restarted 2 times, cluster.max_restarts is 2"));
    world.resume(&job);
    assert_eq!(world.state(&job), JobState::Starting);
    world.of(&run(&job, 4, 0), exit(Some(3), None));
    assert_eq!((world.state(&job), world.job(&job).restarts), (JobState::Starting, 3));
}

#[test]
fn a_rank_that_cannot_be_started_says_why() {
    let mut world = World::new();
    world.join("a", 2);
    let job = world.submit(2);
    world.of(&run(&job, 1, 0), OfRank::Started { pid: 1 });
    world.of(&run(&job, 1, 1), OfRank::NotStarted { reason: "ds-worker: not found".to_owned() });
    world.of(&run(&job, 1, 0), exit(None, Some(15)));
    assert!(world.notes()[0].contains("rank 1 on a could not be started: ds-worker: not found"));
}

#[test]
fn a_rank_that_is_silent_ends_the_attempt_and_one_that_speaks_does_not() {
    let (mut world, job, runs) = world();
    world.live(20, &["a", "b"], &runs);
    assert_eq!(world.state(&job), JobState::Running);
    let told = world.live(5, &["a", "b"], &runs[1..]);
    assert_eq!(ends(&told), [0, 1, 2, 3]);
    for run in &runs {
        world.of(run, exit(None, Some(9)));
    }
    assert!(world.notes()[0].contains("rank 0 on "), "{}", world.notes()[0]);
    assert!(world.notes()[0].contains("was silent for 5 s"), "{}", world.notes()[0]);
}

#[test]
fn a_process_that_never_speaks_is_not_waited_for_for_ever() {
    let mut world = World::new();
    world.join("a", 2);
    let job = world.submit(1);
    world.of(&run(&job, 1, 0), OfRank::Started { pid: 1 });
    world.live(100, &["a"], &[]);
    assert!(world.notes()[0].contains("said nothing within 90 s of its start"), "{}", world.notes()[0]);
}

#[test]
fn a_node_that_is_silent_takes_its_ranks_with_it() {
    let (mut world, job, runs) = world();
    let on_a: Vec<&RankRun> = runs.iter().filter(|run| world.node_of(run) == "a").collect();
    let told = world.live(6, &["b"], &runs);
    assert_eq!(ends(&told).len(), 2, "those on b: {told:?}");
    for run in runs.iter().filter(|run| !on_a.contains(run)) {
        world.of(run, exit(None, Some(15)));
    }
    assert!(world.notes()[0].contains("on a is lost with its node, which was silent for 5 s"), "{}", world.notes()[0]);
    assert_eq!(world.state(&job), JobState::Queued, "one node is too small");
    world.join("a", 2);
    assert_eq!(world.state(&job), JobState::Starting);
}

#[test]
fn a_node_whose_stream_breaks_has_a_moment_to_come_back() {
    let (mut world, job, runs) = world();
    world.on(Event::NodeLeft { node: "a".to_owned() });
    world.live(2, &["b"], &runs);
    let running: Vec<RankRun> = runs.iter().filter(|run| world.node_of(run) == "a").cloned().collect();
    let told = world.join_with("a", 2, &running);
    assert!(starts(&told).is_empty() && ends(&told).is_empty(), "{told:?}");
    world.live(10, &["a", "b"], &runs);
    assert_eq!(world.state(&job), JobState::Running);
}

#[test]
fn a_node_that_was_taken_for_dead_and_speaks_again_must_attach_again() {
    let (mut world, _, runs) = world();
    let told = world.live(6, &["b"], &runs);
    assert!(told.contains(&Effect::Detach { node: "a".to_owned(), after: Duration::from_secs(5) }), "{told:?}");
    world.on(Event::NodeHeard { node: "a".to_owned() });
    let is_alive = |world: &World| world.cluster.nodes().next().unwrap().is_alive;
    assert!(!is_alive(&world));
    let told = world.join_with("a", 2, &runs[..2]);
    assert_eq!(ends(&told), [0, 1], "the attempt that they belong to ends");
    assert!(is_alive(&world));
}

#[test]
fn orders_that_a_broken_stream_lost_are_given_again() {
    let mut world = World::new();
    world.join("a", 2);
    world.submit(2);
    world.on(Event::NodeLeft { node: "a".to_owned() });
    let told = world.join("a", 2);
    assert_eq!(starts(&told).len(), 2);
}

#[test]
fn a_node_that_comes_back_without_a_rank_is_asked_what_became_of_it() {
    let (mut world, job, runs) = world();
    world.on(Event::NodeLeft { node: "a".to_owned() });
    let (first, second) = {
        let mut on_a = runs.iter().filter(|run| world.node_of(run) == "a");
        (on_a.next().unwrap().clone(), on_a.next().unwrap().clone())
    };
    assert_eq!(ends(&world.join_with("a", 2, &[first])), [second.rank]);
    world.of(&second, OfRank::NotStarted { reason: "this node does not run it".to_owned() });
    world.live(5, &["a", "b"], &runs);
    assert_ne!(world.state(&job), JobState::Running);
    assert!(world.notes()[0].contains(&format!("rank {} on a", second.rank)), "{}", world.notes()[0]);
}

#[test]
fn words_of_an_older_attempt_are_not_heard() {
    let (mut world, job, runs) = world();
    for run in &runs {
        world.of(run, exit(None, Some(9)));
    }
    assert_eq!(world.job(&job).n_attempts, 2);
    let before = world.job(&job).clone();
    for run in &runs {
        assert!(world.cluster.admits(run).is_err());
        for said in [ByRank::Registered, ByRank::Ready { resumed_step: 7 }, failed(Blame::User, "no", None)] {
            assert!(world.by(run, said).is_empty());
        }
        world.step(run, 9);
    }
    assert_eq!(world.job(&job), &before);
    let told = world.of(&runs[1], OfRank::Started { pid: 7 });
    assert_eq!(ends(&told), [1], "nobody wants that process");
}

#[test]
fn a_rank_that_dies_while_the_job_is_stopping_does_not_start_it_again() {
    let (mut world, job, runs) = world();
    world.cancel(&job, false);
    for run in &runs {
        world.of(run, exit(None, Some(9)));
    }
    assert_eq!(world.state(&job), JobState::Cancelled);
    assert!(world.job(&job).reason.contains("before it could save, rank 0 on"), "{}", world.job(&job).reason);
}

#[test]
fn a_rank_that_leaves_without_a_word_has_not_finished() {
    let (mut world, job, runs) = world();
    world.of(&runs[0], exit(Some(0), None));
    world.live(7, &["a", "b"], &runs);
    assert_ne!(world.state(&job), JobState::Running);
    assert!(world.notes()[0].contains("ended without having finished"), "{}", world.notes()[0]);
}

#[test]
fn all_that_ends_with_an_embedded_coordinator_ends_and_costs_no_restart() {
    let mut world = World::embedded();
    world.join("a", 2);
    let job = world.submit(2);
    let runs = world.train(&job, 0);
    assert!(!world.cluster.is_quiet());
    assert_eq!(ends(&world.on(Event::Closing)), [0, 1]);
    for run in &runs {
        world.of(run, exit(None, Some(15)));
    }
    assert!(world.cluster.is_quiet());
    assert_eq!((world.state(&job), world.job(&job).restarts), (JobState::Queued, 0));
    assert!(world.wait(Duration::from_secs(60)).iter().all(|effect| !matches!(effect, Effect::StartRank { .. })));
}

#[test]
fn a_coordinator_that_runs_alone_leaves_its_ranks() {
    let (mut world, _, _) = world();
    assert!(ends(&world.on(Event::Closing)).is_empty());
    assert!(world.cluster.is_quiet());
}

#[test]
fn ranks_that_took_up_different_checkpoints_do_not_train() {
    let mut world = World::new();
    world.join("a", 2);
    let job = world.submit(2);
    let runs = world.runs(&job);
    for run in &runs {
        world.by(run, ByRank::Registered);
        world.by(run, ByRank::Listening { addresses: Vec::new() });
    }
    for (run, resumed_step) in runs.iter().zip([8, 4]) {
        world.by(run, ByRank::Ready { resumed_step });
    }
    for run in &runs {
        world.of(run, exit(None, Some(15)));
    }
    assert_eq!(world.state(&job), JobState::Failed);
    let expected = "rank 1 on a took up the checkpoint of step 4, rank 0 that of step 8; do all nodes see";
    assert!(world.job(&job).reason.starts_with(expected), "{}", world.job(&job).reason);
}

#[test]
fn a_second_node_of_one_name_is_let_in_only_when_the_first_is_silent() {
    let mut world = World::new();
    world.join("a", 2);
    assert!(world.cluster.admits_node("a", world.now).is_err());
    assert!(world.cluster.admits_node("b", world.now).is_ok());
    world.live(20, &["a"], &[]);
    world.on(Event::NodeHeard { node: "a".to_owned() });
    assert!(world.cluster.admits_node("a", world.now + Duration::from_secs(2)).is_err());
    assert!(world.cluster.admits_node("a", world.now + Duration::from_secs(3)).is_ok());
    world.on(Event::NodeLeft { node: "a".to_owned() });
    assert!(world.cluster.admits_node("a", world.now).is_ok(), "its end was noticed");
}
