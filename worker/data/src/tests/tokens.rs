//! The cache of tokens: made once, found again, made anew when broken.

use std::fs;

use super::place::{Place, documents};
use crate::{TokenFolder, TokenizerChoice, prepare};

const BYTES: TokenizerChoice = TokenizerChoice::Bytes;

#[test]
fn what_was_made_is_found() {
    let place = Place::new();
    let file = place.put("a.txt", "text");
    let made = place.prepare(&file, &BYTES).unwrap();
    let again = prepare(&file, &BYTES, &place.cache(), &mut |_| panic!("it is made already")).unwrap();
    assert_eq!(made, again);
    assert!(made.starts_with(place.cache()));
    let name = made.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(place.cached(), [name.clone(), format!("{name}.lock")]);
}

#[test]
fn a_folder_of_tokens_is_returned_as_it_is() {
    let place = Place::new();
    let made = place.prepare(&place.put("a.txt", "text"), &BYTES).unwrap();
    assert_eq!(prepare(&made, &BYTES, &place.path("other"), &mut |_| ()).unwrap(), made);
    assert!(!place.path("other").exists());
    // Also when it is broken, since it is surely no text.
    fs::remove_file(made.join("manifest.json")).unwrap();
    assert_eq!(place.prepare(&made, &BYTES).unwrap(), made);
    let said = TokenFolder::open(&made).unwrap_err().to_string();
    assert!(said.contains("manifest.json"), "{said}");
}

#[test]
fn other_text_other_names_and_other_tokenizers_have_other_tokens() {
    let place = Place::new();
    let first = place.prepare(&place.put("a.txt", "text"), &BYTES).unwrap();
    assert_ne!(place.prepare(&place.put("a.txt", "texd"), &BYTES).unwrap(), first);
    assert_ne!(place.prepare(&place.put("b.txt", "text"), &BYTES).unwrap(), first);
    let tokenizer = place.path("tokenizer.json");
    fs::write(&tokenizer, super::encoding::words(&["text"])).unwrap();
    let file = place.put("a.txt", "text");
    let words = place.prepare(&file, &TokenizerChoice::File(tokenizer.clone())).unwrap();
    assert_ne!(words, first);
    fs::write(&tokenizer, super::encoding::words(&["text", "more"])).unwrap();
    assert_ne!(place.prepare(&file, &TokenizerChoice::File(tokenizer)).unwrap(), words);
}

#[test]
fn the_same_text_elsewhere_has_the_same_tokens() {
    let place = Place::new();
    let here = place.prepare(&place.put("here/a.txt", "text"), &BYTES).unwrap();
    assert_eq!(place.prepare(&place.put("there/a.txt", "text"), &BYTES).unwrap(), here);
}

#[test]
fn broken_tokens_of_the_cache_are_made_anew() {
    let place = Place::new();
    let file = place.put("a.txt", "text");
    let made = place.prepare(&file, &BYTES).unwrap();
    for broken in ["00000.tokens", "00000.marks", "manifest.json"] {
        fs::write(made.join(broken), "x").unwrap();
        assert!(TokenFolder::open(&made).is_err(), "{broken}");
        assert_eq!(documents(&TokenFolder::open(&place.prepare(&file, &BYTES).unwrap()).unwrap()), ["text"]);
    }
    fs::remove_file(made.join("00000.tokens")).unwrap();
    assert_eq!(documents(&TokenFolder::open(&place.prepare(&file, &BYTES).unwrap()).unwrap()), ["text"]);
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let place = Place::new();
    let file = place.put("a.txt", "text");
    let made = place.prepare(&file, &BYTES).unwrap();
    let name = made.file_name().unwrap().to_str().unwrap();
    fs::remove_dir_all(&made).unwrap();
    fs::create_dir(place.cache().join(format!(".{name}.draft-1-0"))).unwrap();
    place.prepare(&file, &BYTES).unwrap();
    assert_eq!(place.cached(), [name.to_owned(), format!("{name}.lock")]);
}

#[test]
fn a_failure_leaves_no_draft() {
    let place = Place::new();
    place.put("a.jsonl", "{\"text\": \"x\"}\n{\"txt\": 1}");
    place.refusal(&BYTES);
    assert!(place.cached().iter().all(|name| name.ends_with(".lock")), "{:?}", place.cached());
}
