//! `data` and `ckpt`: what lies on disk.

use std::fs;

use crate::place::Place;

#[test]
fn text_becomes_tokens_and_tokens_are_counted() {
    let place = Place::new();
    let size = fs::metadata(place.path("train.txt")).unwrap().len();
    let made = place.facts(&["data", "tokenize", "train.txt", "--out", "tokens"]);
    // One more token ends the document.
    assert_eq!((made["tokens"].as_u64(), made["bytes"].as_u64()), (Some(size + 1), Some(size)), "{made}");
    assert_eq!(made["vocab_size"], 257);
    assert_eq!(place.facts(&["data", "info", "tokens"])["tokens"], made["tokens"]);
    assert!(place.dsctl(&["data", "info", "tokens"]).stdout.contains("257"));
    let left: Vec<_> = fs::read_dir(place.path(".")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("draft")), "{left:?}");
}

#[test]
fn tokens_are_never_written_over_something() {
    let place = Place::new();
    place.facts(&["data", "tokenize", "train.txt", "--out", "tokens"]);
    place.dsctl(&["data", "tokenize", "train.txt", "--out", "tokens"]).ended(64, &["is there already", "hint: "]);
    place.dsctl(&["data", "tokenize", "tokens", "--out", "more"]).ended(64, &["holds tokens already"]);
    assert!(!place.path("more").exists());
}

#[test]
fn data_that_is_not_there_or_no_tokens_is_named() {
    let place = Place::new();
    place.dsctl(&["data", "tokenize", "nowhere", "--out", "tokens"]).ended(64, &["nowhere"]);
    place.dsctl(&["data", "info", "nowhere"]).ended(64, &["nowhere"]);
    fs::create_dir(place.path("empty")).unwrap();
    place.dsctl(&["data", "info", "empty"]).ended(64, &["empty"]);
    place.dsctl(&["data", "tokenize", "empty", "--out", "tokens"]).ended(64, &["empty"]);
    assert!(!place.path("tokens").exists());
}

#[test]
fn checkpoints_that_are_not_there_are_named() {
    let place = Place::new();
    place.dsctl(&["ckpt", "list", "last"]).ended(64, &["there is no job yet"]);
    place.dsctl(&["ckpt", "show", "tiny-1"]).ended(64, &["tiny-1 is neither a folder nor a job"]);
    fs::create_dir(place.path("empty")).unwrap();
    place.dsctl(&["ckpt", "verify", "empty"]).ended(64, &["there is no checkpoint in"]);
}

#[test]
fn a_checkpoint_that_is_not_whole_makes_verify_fail() {
    let place = Place::new();
    fs::create_dir_all(place.path("checkpoints/step-00000100")).unwrap();
    let said = place.dsctl(&["ckpt", "verify", "checkpoints"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("broken"), "{said:?}");
    assert_ne!(place.dsctl(&["ckpt", "show", "checkpoints"]).code, Some(0));
}
