//! `generate` and its mistakes: the checkpoint is found and every flag is looked at before a worker starts.

use std::fs;
use std::path::{Path, PathBuf};

use ds_checkpoint::{Draft, Dtype, RecordKind, Shard, TrainState};

use crate::place::Place;

/// A worker that prints its arguments, one a line.
const ECHO: &str = r#"for argument in "$@"; do echo "$argument"; done; echo written >&2"#;

/// A checkpoint of the place's job. What it holds is not looked at here.
fn save(place: &Place, folder: &Path, step: u64) -> PathBuf {
    let spec_yaml = place.dsctl(&["check", "job.yaml"]).stdout;
    let draft = Draft::create(folder, step).unwrap();
    let shard = Shard {
        name: "embed",
        kind: RecordKind::Weight,
        dtype: Dtype::F32,
        shape: &[2],
        range: std::slice::from_ref(&(0..2)),
        bytes: &[0; 8],
    };
    let part = draft.write(0, &[shard]).unwrap();
    let saved = draft.folder();
    draft.commit(vec![part], &TrainState { step, spec_yaml, ..TrainState::default() }).unwrap();
    saved
}

/// A run of the home, as a coordinator leaves it.
fn run(place: &Place, job: &str) -> PathBuf {
    let folder = place.home().join("runs").join(job);
    fs::create_dir_all(folder.join("checkpoints")).unwrap();
    fs::copy(place.path("job.yaml"), folder.join("job.yaml")).unwrap();
    folder.join("checkpoints")
}

#[test]
fn every_wrong_flag_is_named_at_once_and_nothing_starts() {
    let place = Place::new();
    place.fake_worker("echo it started");
    save(&place, &place.path("ckpt"), 1);
    let wrong = ["--temperature", "-1", "--top-p", "2", "--seed", "x", "--ranks", "3", "--device", "tpu"];
    let said = place.dsctl(&[&["generate", "ckpt"][..], &wrong].concat());
    said.ended(64, &["--temperature -1: must lie between 0", "--top-p 2", "--seed x: is no such number"]);
    said.ended(64, &["--ranks 3: 3 ranks a stage must divide model.moe.n_experts 8", "--device tpu", "--prompt"]);
    assert_eq!(said.stdout, "");
}

#[test]
fn a_worker_gets_the_newest_checkpoint_and_every_flag() {
    let place = Place::new();
    place.fake_worker(ECHO);
    let old = run(&place, "tiny-0001");
    save(&place, &old, 1);
    let newest = save(&place, &old, 20);
    place.write("more.txt", "one\n\ntwo\n");
    for target in ["last", "tiny-0001", "tiny", old.to_str().unwrap(), newest.to_str().unwrap()] {
        let flags =
            ["--prompt", "-a b", "--prompts-file", "more.txt", "--seed", "3", "--speculate", "--format", "json"];
        let said = place.dsctl(&[&["generate", target][..], &flags].concat());
        said.ended(0, &["step 20", "written"]);
        let path = newest.display().to_string();
        let expected = [
            "generate",
            &path,
            "--seed=3",
            "--speculate",
            "--prompt=-a b",
            "--prompts-file",
            "more.txt",
            "--format=json",
        ];
        assert_eq!(said.stdout.lines().collect::<Vec<_>>(), expected, "{target}");
    }
}

#[test]
fn averages_are_asked_for_where_a_run_kept_them() {
    let place = Place::new();
    place.fake_worker("echo it started");
    save(&place, &place.path("ckpt"), 1);
    let said = place.dsctl(&["generate", "ckpt", "--prompt", "a", "--ema"]);
    said.ended(64, &["has no moving averages of its weights: its job does not say train[].ema: true"]);
    assert_eq!(said.stdout, "");
}

#[test]
fn what_is_missing_is_named() {
    let place = Place::new();
    let missing = ["generate", "nowhere", "--prompt", "x"];
    place.dsctl(&missing).ended(64, &["nowhere is neither a folder nor a job of this home", "hint: dsctl list"]);
    run(&place, "tiny-0001");
    place.dsctl(&["generate", "last", "--prompt", "x"]).ended(64, &["there is no checkpoint in", "hint: "]);
    save(&place, &place.path("ckpt"), 1);
    let file = ["generate", "ckpt", "--prompts-file", "nowhere.txt"];
    place.dsctl(&file).ended(64, &["cannot read nowhere.txt", "hint: check the path"]);
    place.dsctl(&["generate", "ckpt", "--prompt", "x"]).ended(64, &["ds-worker is missing", "hint: make build"]);
}

#[test]
fn the_end_of_the_worker_is_the_end_of_the_command() {
    let place = Place::new();
    save(&place, &place.path("ckpt"), 1);
    for (script, code, words) in [
        ("echo error: no such token >&2; exit 64", 64, "no such token"),
        ("echo error: the disk is gone >&2; exit 1", 1, "the disk is gone"),
        ("kill -9 $$", 1, "ds-worker was ended from outside"),
    ] {
        place.fake_worker(script);
        place.dsctl(&["generate", "ckpt", "--prompt", "x"]).ended(code, &[words]);
    }
}

#[test]
fn a_job_that_nobody_watches_has_no_sample() {
    let place = Place::new();
    place.dsctl(&["launch", "job.yaml", "--detach", "--sample", "x"]).ended(64, &["--sample", "--detach"]);
}
