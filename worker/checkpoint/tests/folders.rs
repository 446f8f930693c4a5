//! The newest whole checkpoint is found, and old ones go.

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::{folder, names, save_small};
use ds_checkpoint::{Checkpoint, newest_whole, prune};

fn damage(path: &Path) {
    let file = path.join("part-00000.safetensors");
    let mut bytes = fs::read(&file).expect("the test's files");
    *bytes.last_mut().expect("the test's files") ^= 1;
    fs::write(file, bytes).expect("the test's files");
}

#[test]
fn broken_ones_are_named_and_passed_over_newest_first() {
    let root = folder();
    let paths: Vec<_> = [2, 10, 30, 200, 1_000_000_000].into_iter().map(|step| save_small(root.path(), step)).collect();
    assert_eq!(newest_whole(root.path()).unwrap().path.as_ref(), Some(&paths[4]));
    fs::create_dir(root.path().join("step-00000201.tmp")).unwrap();
    damage(&paths[4]);
    fs::remove_file(paths[3].join("manifest.json")).unwrap();
    fs::rename(&paths[2], root.path().join("step-00000031")).unwrap();
    damage(&paths[0]);
    let newest = newest_whole(root.path()).unwrap();
    assert_eq!(newest.path.as_ref(), Some(&paths[1]));
    let said: Vec<String> = newest.broken.iter().map(ToString::to_string).collect();
    let expected = [
        "step-1000000000/part-00000.safetensors: weight of embed is damaged",
        "step-00000201.tmp was never committed",
        "step-00000200/manifest.json cannot be read",
        "step-00000031 is named after step 31, but holds step 30",
    ];
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_run_without_checkpoints_has_none() {
    let root = folder();
    for path in [root.path().to_owned(), root.path().join("not there")] {
        let newest = newest_whole(&path).unwrap();
        assert!(newest.path.is_none() && newest.broken.is_empty());
        prune(&path, 2).unwrap();
    }
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(newest_whole(&file).unwrap_err().to_string().contains("file cannot be read"));
}

#[test]
fn prune_keeps_the_newest_whole_ones_and_what_is_not_ours() {
    let root = folder();
    for step in 1..=6 {
        save_small(root.path(), step);
    }
    let step = |step: u64| format!("step-{step:08}");
    fs::remove_file(root.path().join(step(5)).join("part-00001.safetensors")).unwrap();
    fs::remove_file(root.path().join(step(2)).join("manifest.json")).unwrap();
    fs::create_dir(root.path().join("best")).unwrap();
    fs::write(root.path().join("notes.txt"), "mine").unwrap();
    prune(root.path(), 2).unwrap();
    assert_eq!(names(root.path()), ["best".to_owned(), "notes.txt".to_owned(), step(4), step(5), step(6)]);
    prune(root.path(), 0).unwrap();
    assert_eq!(names(root.path()), ["best".to_owned(), "notes.txt".to_owned(), step(6)]);
}

#[test]
fn a_newer_one_that_is_broken_does_not_push_out_what_was_saved_since() {
    let root = folder();
    save_small(root.path(), 50);
    let broken = save_small(root.path(), 100);
    damage(&broken);
    // The manifests' times are compared, and file systems round them.
    let earlier = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(broken.join("manifest.json")).unwrap().set_modified(earlier).unwrap();
    let saved = save_small(root.path(), 75);
    prune(root.path(), 1).unwrap();
    assert_eq!(names(root.path()), ["step-00000075", "step-00000100"]);
    assert_eq!(newest_whole(root.path()).unwrap().path, Some(saved));
}

#[test]
fn one_that_was_copied_elsewhere_opens_under_any_name() {
    let root = folder();
    let path = save_small(root.path(), 6);
    let copy = root.path().join("best of all");
    fs::rename(path, &copy).unwrap();
    let checkpoint = Checkpoint::open(&copy).unwrap();
    checkpoint.verify().unwrap();
    assert_eq!(checkpoint.state().step, 6);
}
