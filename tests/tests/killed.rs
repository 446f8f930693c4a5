//! Nothing is lost: whatever is killed, the resumed run ends with the weights of the uninterrupted one, bit for bit.
#![cfg(feature = "train")]

use std::path::Path;

use ds_tests::job::Job;
use ds_tests::launch::{Coordinator, Launched, newest_tensors, run_folder, summary, wait_until, workers};

const N_STEPS: u64 = 24;

fn job(folder: &Path, seed: u64) -> Job {
    Job::tiny(folder)
        .grid(2, 2, 2)
        .with("seed", seed)
        .with("train[0].steps", N_STEPS)
        .with("checkpoint.every", 4)
        .with("cluster.max_restarts", 2)
}

/// Where to strike, from a seed.
fn pick(seed: u64, n: u64) -> u64 {
    (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % n
}

fn uninterrupted(folder: &Path, seed: u64) -> std::path::PathBuf {
    let home = folder.join("whole");
    let (status, talk) = Launched::start(&job(folder, seed), &home).wait();
    assert!(status.success(), "{talk}");
    home
}

fn assert_same_weights(whole: &Path, broken: &Path) {
    let ((step, expected), (_, got)) = (newest_tensors(whole), newest_tensors(broken));
    assert_eq!(step, N_STEPS);
    assert_eq!(expected.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    for (tensor, bytes) in &expected {
        assert!(bytes == &got[tensor], "{} {:?} differs after the resume", tensor.0, tensor.1);
    }
}

#[test]
fn a_killed_worker_costs_no_bit() {
    for seed in [1, 2, 3] {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = uninterrupted(folder.path(), seed);
        let home = folder.path().join("broken");
        let mut launched = Launched::start(&job(folder.path(), seed), &home);
        launched.wait_for_step(2 + pick(seed, 16));
        let victim = pick(seed + 100, 4) as u32;
        launched.kill_rank(victim);
        let (status, talk) = launched.wait();
        assert!(status.success(), "{talk}");
        assert!(talk.contains(&format!("rank {victim}")), "the report names rank {victim}:\n{talk}");
        assert_eq!(summary(&home)["restarts"], 1, "{talk}");
        assert_same_weights(&whole, &home);
    }
}

#[test]
fn a_killed_coordinator_costs_no_bit() {
    for seed in [4, 5] {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = uninterrupted(folder.path(), seed);
        let home = folder.path().join("broken");
        let mut launched = Launched::start(&job(folder.path(), seed), &home);
        launched.wait_for_step(2 + pick(seed, 16));
        let address = Coordinator::of(&home).expect("it runs").address;
        launched.kill();
        wait_until("the end of every worker", || workers(&address).is_empty());
        assert!(run_folder(&home).is_some());
        let (status, talk) = Launched::resume(&home).wait();
        assert!(status.success(), "{talk}");
        assert_same_weights(&whole, &home);
    }
}
