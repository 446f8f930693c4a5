//! The coordinator dies and another one takes up what it kept.

use std::time::Duration;

use super::world::{World, ends, exit, run, starts};
use crate::cluster::{ByRank, Effect, JobState, RankRun};

fn running() -> (World, String, Vec<RankRun>) {
    let mut world = World::new();
    world.join("a", 2);
    let job = world.submit(2);
    let runs = world.train(&job, 0);
    world.step(&runs[0], 3);
    (world, job, runs)
}

#[test]
fn ranks_that_come_back_are_taken_up_and_told_all_that_they_may_have_missed() {
    let (mut world, job, runs) = running();
    world.restart(false);
    world.wait(Duration::from_secs(300));
    let told = world.join_with("a", 2, &runs);
    assert!(starts(&told).is_empty() && ends(&told).is_empty(), "{told:?}");
    for run in &runs {
        world.cluster.admits(run).unwrap();
        let told = world.by(run, ByRank::Registered);
        let words = told.iter().map(|effect| match effect {
            Effect::Configure { .. } => "configure",
            Effect::Connect { peers, .. } if peers.len() == 2 => "connect",
            Effect::Go { .. } => "go",
            other => panic!("{other:?}"),
        });
        assert_eq!(words.collect::<Vec<_>>(), ["configure", "connect", "go"]);
    }
    world.live(700, &["a"], &runs);
    world.finish(&runs, 10, false);
    let job = world.job(&job);
    assert_eq!((job.state, job.n_attempts, job.restarts), (JobState::Done, 1, 0));
    world.assert_kept();
}

#[test]
fn ranks_that_do_not_come_back_in_time_cost_a_restart() {
    let (mut world, job, runs) = running();
    world.restart(false);
    world.join_with("a", 2, &runs);
    world.by(&runs[0], ByRank::Registered);
    world.live(602, &["a"], &runs[..1]);
    assert_eq!(world.state(&job), JobState::Running);
    world.live(10, &["a"], &runs[..1]);
    assert!(world.notes()[0].contains("rank 1 on a did not come back within 600 s"), "{}", world.notes()[0]);
    assert_eq!(world.job(&job).restarts, 1);
}

#[test]
fn a_job_of_an_embedded_coordinator_starts_again_at_once_from_its_checkpoint() {
    let mut world = World::embedded();
    world.join("a", 2);
    let job = world.submit(2);
    world.train(&job, 0);
    world.restart(true);
    assert_eq!((world.state(&job), world.job(&job).restarts), (JobState::Queued, 1));
    assert!(world.notes()[0].contains("rank 0 on a ended with its coordinator"), "{}", world.notes()[0]);
    assert_eq!(starts(&world.join("a", 2)).len(), 2);
}

#[test]
fn ranks_that_ended_while_nobody_looked_are_heard_of() {
    let (mut world, job, runs) = running();
    world.restart(false);
    assert_eq!(ends(&world.join("a", 2)), [0, 1], "it is asked what became of them");
    for run in &runs {
        world.of(run, exit(Some(1), None));
    }
    assert_eq!((world.state(&job), world.job(&job).n_attempts), (JobState::Starting, 2));
}

#[test]
fn ranks_of_attempts_that_are_over_are_told_to_end() {
    let (mut world, job, runs) = running();
    for run in &runs {
        world.of(run, exit(None, Some(9)));
    }
    world.restart(false);
    let stranger = run("tiny-0099", 1, 5);
    let told = world.join_with("a", 2, &[runs[1].clone(), stranger]);
    assert_eq!(ends(&told), [1, 5]);
    assert_eq!(starts(&told).len(), 2, "those of attempt {} were never started", world.job(&job).n_attempts);
}

#[test]
fn a_job_that_waits_and_one_that_ended_are_as_they_were() {
    let mut world = World::new();
    let (waits, ended) = (world.submit(1), world.submit(1));
    world.cancel(&ended, true);
    world.restart(false);
    assert_eq!((world.state(&waits), world.state(&ended)), (JobState::Queued, JobState::Cancelled));
    assert_eq!(world.submit(1), "tiny-0003");
    world.join("a", 1);
    assert_eq!(world.state(&waits), JobState::Starting, "who came first goes first");
}

#[test]
fn a_stop_that_was_ordered_is_ordered_again() {
    let (mut world, job, runs) = running();
    world.cancel(&job, false);
    world.restart(false);
    world.join_with("a", 2, &runs);
    let told = world.by(&runs[0], ByRank::Registered);
    assert!(matches!(told.last(), Some(Effect::Stop { checkpoint: true, .. })), "{told:?}");
    world.by(&runs[1], ByRank::Registered);
    world.finish(&runs, 5, true);
    assert_eq!(world.state(&job), JobState::Cancelled);
}

#[test]
fn a_job_whose_spec_this_version_cannot_read_says_so() {
    let (mut world, job, _) = running();
    world.forget_plans();
    world.restart(false);
    assert_eq!(world.state(&job), JobState::Failed);
    assert!(world.job(&job).reason.starts_with("this version cannot read"), "{}", world.job(&job).reason);
}
