//! A job that starts from an imported checkpoint: out of a run, in again, and on as if it had never left.
#![cfg(feature = "train")]

use std::path::{Path, PathBuf};

use ds_tests::job::Job;
use ds_tests::launch::{Launched, checkpoints, newest_tensors, steps};
use ds_tests::programs::{dsctl, run};

fn done(home: &Path, arguments: &[&str]) {
    let (code, stdout, stderr) = run(dsctl(home).args(arguments));
    assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_run_from_an_imported_checkpoint_is_the_run_from_the_checkpoint_that_was_exported() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let first = at("first");
    let job = Job::tiny(folder.path()).with("model.preset", "bard").with("train[0].steps", 5);
    let (status, talk) = Launched::start(&job, &first).wait();
    assert!(status.success(), "{talk}");
    let trained = checkpoints(&first).pop().expect("a checkpoint");
    done(&first, &["export", "last", text(&at("hf"))]);
    done(&first, &["import", text(&at("hf")), text(&at("imported"))]);

    let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/jobs/from-imported.yaml");
    let from = |home: PathBuf, start: &Path| {
        let sets = [
            format!("checkpoint.start_from={}", start.display()),
            format!("data.train={}", at("train.txt").display()),
            format!("data.validation={}", at("validation.txt").display()),
            "train[0].steps=2".to_owned(),
            "train[0].learning_rate.warmup=1".to_owned(),
            "train[0].learning_rate.pieces[0].steps=1".to_owned(),
            "train[0].batch=8".to_owned(),
            "train[0].microbatch=1".to_owned(),
            "train[0].sequence=32".to_owned(),
            "train[0].evaluate_bytes=2048".to_owned(),
        ];
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set.as_str()]).collect();
        done(&home, &[&["launch", text(&job)][..], &sets].concat());
        assert_eq!(steps(&home), [1, 2], "it starts at step 0");
        newest_tensors(&home)
    };
    let imported = from(at("second"), &at("imported"));
    assert!(imported == from(at("third"), &trained), "the weights differ");
    // The biases that the first run moved, and its weights, were taken up.
    assert!(imported != newest_tensors(&first));
}
