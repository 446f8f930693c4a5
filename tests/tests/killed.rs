//! Nothing is lost: whatever is killed, the resumed run ends with the weights of the uninterrupted one, bit for bit.
#![cfg(feature = "train")]

use std::path::Path;

use ds_tests::in_time::{TooLate, ended_well, in_time, is_done, kill_rank, running_at, too_late};
use ds_tests::job::Job;
use ds_tests::launch::{Coordinator, Launched, newest_tensors, run_folder, summary, wait_until, workers};

const N_STEPS: u64 = 24;

fn job(folder: &Path, seed: u64, n_steps: u64) -> Job {
    Job::tiny(folder)
        .grid(2, 2, 2)
        .with("seed", seed)
        .with("train[0].steps", n_steps)
        .with("checkpoint.every", 4)
        .with("cluster.max_restarts", 2)
}

/// Where to strike, from a seed.
fn pick(seed: u64, n: u64) -> u64 {
    (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % n
}

/// The weights in `broken` are those of a run of `job` that nothing happened to.
fn assert_same_weights(job: &Job, folder: &Path, broken: &Path, n_steps: u64) {
    let whole = folder.join("whole");
    ended_well(Launched::start(job, &whole), &whole);
    let ((step, expected), (_, got)) = (newest_tensors(&whole), newest_tensors(broken));
    assert_eq!(step, n_steps);
    assert_eq!(expected.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    for (tensor, bytes) in &expected {
        assert!(bytes == &got[tensor], "{} {:?} differs after the resume", tensor.0, tensor.1);
    }
}

fn kill_a_worker(seed: u64, n_steps: u64) -> Result<(), TooLate> {
    let folder = tempfile::tempdir().expect("a folder");
    let (home, job) = (folder.path().join("broken"), job(folder.path(), seed, n_steps));
    let launched = running_at(Launched::start(&job, &home), &home, 2 + pick(seed, 16))?;
    let victim = pick(seed + 100, 4) as u32;
    let killed = kill_rank(&home, victim);
    let talk = ended_well(launched, &home);
    // One that was killed when it had said that it is done is missed by nobody.
    if killed.is_err() || summary(&home)["restarts"] == 0 {
        return Err(TooLate);
    }
    assert!(talk.contains(&format!("rank {victim}")), "the report names rank {victim}:\n{talk}");
    assert_eq!(summary(&home)["restarts"], 1, "{talk}");
    assert_same_weights(&job, folder.path(), &home, n_steps);
    Ok(())
}

#[test]
fn a_killed_worker_costs_no_bit() {
    for seed in [1, 2, 3] {
        in_time(N_STEPS, |n_steps| kill_a_worker(seed, n_steps));
    }
}

fn kill_the_coordinator(seed: u64, n_steps: u64) -> Result<(), TooLate> {
    let folder = tempfile::tempdir().expect("a folder");
    let (home, job) = (folder.path().join("broken"), job(folder.path(), seed, n_steps));
    let launched = running_at(Launched::start(&job, &home), &home, 2 + pick(seed, 16))?;
    let Some(Coordinator { address, .. }) = Coordinator::of(&home) else { return Err(too_late(launched, &home)) };
    launched.kill();
    wait_until("the end of every worker", || workers(&address).is_empty());
    assert!(run_folder(&home).is_some());
    if is_done(&home) {
        return Err(TooLate);
    }
    ended_well(Launched::resume(&home), &home);
    assert_same_weights(&job, folder.path(), &home, n_steps);
    Ok(())
}

#[test]
fn a_killed_coordinator_costs_no_bit() {
    for seed in [4, 5] {
        in_time(N_STEPS, |n_steps| kill_the_coordinator(seed, n_steps));
    }
}
