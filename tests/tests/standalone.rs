//! A coordinator of its own that dies and comes back: ranks go on meanwhile, and nothing is lost.
#![cfg(feature = "train")]

use ds_tests::in_time::{TooLate, ended_well, in_time, wait_through_steps};
use ds_tests::job::Job;
use ds_tests::launch::{Coordinator, Launched, newest_tensors, run_folder, steps, summary, wait_until, workers};
use ds_tests::standalone::{coordinator, lasting_address, node, submit};

#[test]
fn ranks_outlive_a_killed_coordinator_and_finish_under_the_next() {
    in_time(60, |n_steps| {
        let folder = tempfile::tempdir().expect("a folder");
        let job = Job::tiny(folder.path()).grid(2, 2, 2).with("train[0].steps", n_steps).with("checkpoint.every", 20);
        let home = folder.path().join("home");
        let address = lasting_address();
        let first = coordinator(&home, &address);
        let _node = node(&Coordinator::of(&home).expect("it runs"));
        submit(&home, &job, &format!("http://{address}"));
        wait_until("some steps", || steps(&home).last().is_some_and(|&step| step >= 5));
        drop(first);
        if steps(&home).last() == Some(&n_steps) {
            return Err(TooLate);
        }
        assert!(!workers(&address).is_empty(), "ranks outlive their coordinator");

        let _second = coordinator(&home, &address);
        assert_eq!(Coordinator::of(&home).expect("it runs").address, address);
        let has_summary = || run_folder(&home).is_some_and(|run| run.join("summary.json").is_file());
        wait_through_steps("the summary", &home, has_summary);
        let summary = summary(&home);
        assert_eq!((&summary["state"], &summary["restarts"]), (&"done".into(), &0.into()), "{summary}");
        assert_eq!(steps(&home).last(), Some(&n_steps));

        let whole = folder.path().join("whole");
        ended_well(Launched::start(&job, &whole), &whole);
        assert!(newest_tensors(&whole) == newest_tensors(&home), "the weights differ");
        Ok(())
    });
}
