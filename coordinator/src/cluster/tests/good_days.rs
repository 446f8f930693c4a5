//! What a job's life looks like when nothing goes wrong.

use std::time::Duration;

use ds_plan::spec::DeviceKind;

use super::world::{World, ends, exit, inventory, spec, starts};
use crate::cluster::{ByRank, Effect, Event, JobState, OfRank};

#[test]
fn a_job_is_seated_connected_trained_and_done() {
    let mut world = World::new();
    world.join("a", 4);
    let job = world.submit(2);
    assert_eq!((job.as_str(), world.state(&job)), ("tiny-0001", JobState::Starting));
    let runs = world.runs(&job);
    for run in &runs {
        world.of(run, OfRank::Started { pid: 1 });
        let told = world.by(run, ByRank::Registered);
        assert!(matches!(told[..], [Effect::Configure { .. }]), "{told:?}");
    }
    let addresses = |rank: u32| vec![format!("10.0.0.1:{rank}")];
    assert!(world.by(&runs[0], ByRank::Listening { addresses: addresses(0) }).is_empty(), "rank 1 does not listen yet");
    let told = world.by(&runs[1], ByRank::Listening { addresses: addresses(1) });
    let [Effect::Connect { peers, .. }, Effect::Connect { run, .. }] = &told[..] else { panic!("{told:?}") };
    let listening = |rank| crate::cluster::Listening { rank, node: "a".to_owned(), addresses: addresses(rank) };
    assert_eq!((&**peers, run), (&[listening(0), listening(1)][..], &runs[1]));
    assert!(world.by(&runs[1], ByRank::Ready { resumed_step: 0 }).is_empty());
    let told = world.by(&runs[0], ByRank::Ready { resumed_step: 0 });
    assert!(matches!(told[..2], [Effect::Go { .. }, Effect::Go { .. }]), "{told:?}");
    assert_eq!(world.state(&job), JobState::Running);
    for step in 1..=10 {
        world.step(&runs[0], step);
    }
    world.finish(&runs, 10, false);
    assert_eq!((world.state(&job), world.job(&job).step), (JobState::Done, 10));
    assert!(ends(&world.effects).is_empty(), "they leave by themselves");
    assert!(world.cluster.nodes().all(|node| node.held.is_empty()));
    world.assert_kept();
}

#[test]
fn a_job_is_done_only_when_its_processes_have_left() {
    let mut world = World::new();
    world.join("a", 4);
    let job = world.submit(1);
    let runs = world.train(&job, 0);
    world.by(&runs[0], ByRank::Finished { step: 10, stopped: false });
    assert_eq!(world.state(&job), JobState::Running);
    let told = world.live(15, &["a"], &[]);
    assert_eq!(ends(&told), [0], "it was told to leave when it stayed");
    assert_eq!(world.state(&job), JobState::Done);
}

#[test]
fn an_exit_may_be_heard_before_the_word_that_explains_it() {
    let mut world = World::new();
    world.join("a", 4);
    let job = world.submit(2);
    let runs = world.train(&job, 0);
    for run in &runs {
        world.of(run, exit(Some(0), None));
    }
    for run in &runs {
        world.by(run, ByRank::Finished { step: 10, stopped: false });
    }
    assert_eq!(world.state(&job), JobState::Done);
}

#[test]
fn jobs_share_the_cluster_but_no_core_and_the_next_one_starts_when_there_is_room() {
    let mut world = World::new();
    world.join("a", 4);
    let (first, second, third) = (world.submit(2), world.submit(2), world.submit(2));
    assert_eq!(world.state(&second), JobState::Starting);
    assert_eq!(world.state(&third), JobState::Queued);
    let reason = "needs 2 cores, 0 are free, 4 exist; held by tiny-0001, tiny-0002";
    assert_eq!(world.job(&third).reason, reason);
    let runs = world.train(&first, 0);
    world.finish(&runs, 10, false);
    assert_eq!(world.state(&third), JobState::Starting);
    assert_eq!(world.job(&third).reason, "");
}

#[test]
fn higher_priority_goes_first_and_then_who_came_first() {
    let mut world = World::new();
    let order: Vec<String> =
        [(0, 1), (5, 1), (0, 1), (-3, 1), (5, 1)].map(|(p, n)| world.submit_spec(spec(n), Some(p))).into();
    world.join("a", 5);
    let seated: Vec<&str> = starts(&world.effects).into_iter().map(|(_, run)| run.job.as_str()).collect();
    assert_eq!(seated, [1, 4, 0, 2, 3].map(|i: usize| order[i].as_str()));
}

#[test]
fn a_large_job_is_not_overtaken_by_small_ones_that_want_the_same() {
    let mut world = World::new();
    world.join("a", 4);
    let small = world.submit(1);
    let (large, behind) = (world.submit(4), world.submit(1));
    assert_eq!(world.job(&behind).reason, format!("waits behind {large}"));
    let mut gpus = spec(1);
    gpus.cluster.device = DeviceKind::Cuda;
    let other = world.submit_spec(gpus, None);
    assert_eq!(world.job(&other).reason, "needs 1 GPU, 0 exist");
    world.on(Event::NodeJoined { node: inventory("g", 1, 2), running: Vec::new() });
    assert_eq!(world.state(&other), JobState::Starting, "it wants a GPU, which nobody waits for");
    let runs = world.train(&small, 0);
    world.finish(&runs, 10, false);
    assert_eq!(world.state(&large), JobState::Starting);
}

#[test]
fn what_never_fits_holds_nobody_up_and_is_seated_when_a_larger_node_comes() {
    let mut world = World::new();
    let nowhere = world.submit(4);
    assert_eq!(world.job(&nowhere).reason, "waits for a node: none is attached");
    world.join("a", 2);
    assert_eq!(world.job(&nowhere).reason, "needs 4 cores, 2 exist");
    let small = world.submit(1);
    assert_eq!(world.state(&small), JobState::Starting);
    world.join("b", 8);
    assert_eq!(world.state(&nowhere), JobState::Starting);
}

#[test]
fn a_job_that_shares_sits_where_others_sit() {
    let mut world = World::new();
    world.join("a", 2);
    world.submit(2);
    let mut shares = spec(4);
    shares.cluster.share_devices = true;
    let job = world.submit_spec(shares, None);
    assert_eq!(world.state(&job), JobState::Starting);
}

#[test]
fn a_stop_saves_first_and_then_the_job_is_cancelled_and_can_go_on() {
    let mut world = World::new();
    world.join("a", 4);
    let job = world.submit(2);
    let runs = world.train(&job, 0);
    let told = world.cancel(&job, false);
    let stops: Vec<&Effect> = told.iter().filter(|e| matches!(e, Effect::Stop { checkpoint: true, .. })).collect();
    assert_eq!((stops.len(), world.state(&job)), (2, JobState::Stopping));
    assert!(ends(&told).is_empty());
    world.finish(&runs, 4, true);
    assert_eq!((world.state(&job), world.job(&job).step), (JobState::Cancelled, 4));
    world.resume(&job);
    assert_eq!((world.state(&job), world.job(&job).n_attempts), (JobState::Starting, 2));
    let runs = world.train(&job, 4);
    assert_eq!(world.job(&job).step, 4);
    world.finish(&runs, 10, false);
    assert_eq!((world.state(&job), world.job(&job).restarts), (JobState::Done, 0));
}

#[test]
fn a_stop_at_once_or_before_training_ends_the_ranks() {
    for (trains, at_once) in [(true, true), (false, false), (false, true)] {
        let mut world = World::new();
        world.join("a", 4);
        let job = world.submit(2);
        let runs = if trains { world.train(&job, 0) } else { world.runs(&job) };
        assert_eq!(ends(&world.cancel(&job, at_once)), [0, 1]);
        for run in &runs {
            world.of(run, exit(None, Some(15)));
        }
        assert_eq!(world.state(&job), JobState::Cancelled);
        assert_eq!(world.job(&job).reason, "somebody cancelled it");
    }
}

#[test]
fn a_second_cancel_at_once_overrides_the_patient_one() {
    let mut world = World::new();
    world.join("a", 4);
    let job = world.submit(2);
    world.train(&job, 0);
    world.cancel(&job, false);
    assert_eq!(ends(&world.cancel(&job, true)), [0, 1]);
    // Nobody answers, which does not matter.
    world.wait(Duration::from_secs(4));
    assert_eq!(world.state(&job), JobState::Cancelled);
}

#[test]
fn a_job_that_waits_is_cancelled_at_once() {
    let mut world = World::new();
    let job = world.submit(1);
    world.cancel(&job, false);
    assert_eq!(world.state(&job), JobState::Cancelled);
    assert!(world.cluster.may_cancel(&job).is_ok(), "twice is no mistake");
    assert!(world.cluster.may_resume(&job).is_ok());
}

#[test]
fn nothing_is_waited_for_where_nothing_can_happen() {
    let mut world = World::new();
    let job = world.submit(1);
    assert_eq!(world.cluster.next_deadline(), None, "a job that waits wakes nobody");
    world.cancel(&job, true);
    assert_eq!(world.cluster.next_deadline(), None);
}
