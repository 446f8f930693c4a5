//! What can be planned, but not executed yet, every rank refuses before it looks at its data.
#![cfg(feature = "train")]

use ds_plan::JobPlan;
use ds_tests::job::Job;
use ds_tests::ranks::{Backend, on_threads, plan};
use ds_worker::trainer::{Setup, Trainer};

fn refusals(plan: &JobPlan) -> Vec<String> {
    on_threads(plan, Backend::Threads, |rank, endpoint| {
        let nowhere = std::path::PathBuf::from("/nowhere");
        let setup = Setup { device: "cpu".to_owned(), checkpoints: nowhere.clone(), token_cache: nowhere };
        let refused = Trainer::new(plan, rank, endpoint, setup).err().expect("it is refused");
        assert_eq!(refused.kind(), "user");
        refused.to_string()
    })
}

#[test]
fn a_rank_refuses_what_it_does_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = Job::tiny(folder.path()).grid(2, 1, 1).with("parallel.recompute", "full");
    let sentence = "parallel.recompute full is planned, but workers run none and norms only";
    assert_eq!(refusals(&plan(&job)), [sentence; 2]);
}
