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
    for (key, value, runs) in [
        ("parallel.schedule", "zb_h1", "1f1b, gpipe, interleaved, looped_bfs"),
        ("parallel.schedule", "dualpipe", "1f1b, gpipe, interleaved, looped_bfs"),
        ("parallel.recompute", "full", "none and norms"),
    ] {
        let job = Job::tiny(folder.path()).grid(2, 1, 1).with(key, value);
        let sentence = format!("{key} {value} is planned, but workers run {runs} only");
        assert_eq!(refusals(&plan(&job)), [sentence.as_str(); 2]);
    }
}
