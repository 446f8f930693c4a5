//! Text, JSONL and zstd become the same documents.

use std::fs;

use super::place::{Place, documents};
use crate::{Progress, TokenFolder, TokenizerChoice, prepare};

fn packed(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 3).unwrap()
}

#[test]
fn every_byte_comes_back() {
    let place = Place::new();
    let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
    place.put("all.txt", &text);
    let tokens = place.bytes();
    let mut expected: Vec<u32> = text.iter().map(|&byte| u32::from(byte)).collect();
    expected.push(256);
    assert_eq!(tokens.tokens(0..u64::MAX), expected);
    assert_eq!((tokens.n_tokens(), tokens.n_bytes(), tokens.vocab_size()), (1001, 1000, 257));
}

#[test]
fn files_are_read_in_the_order_of_names_whatever_their_kind() {
    let place = Place::new();
    place.put("b.jsonl", "{\"text\": \"b1\"}\n{\"text\": \"b2\"}\n");
    place.put("a.txt", "a");
    place.put("d.jsonl.zst", packed("{\"text\": \"d1\"}\n\n{\"text\": \"d2\", \"id\": 7}"));
    place.put("c/deep.txt.zst", packed("c"));
    place.put("no suffix", "n");
    place.put("empty.txt", "");
    place.put(".hidden", "h");
    let tokens = place.bytes();
    assert_eq!(documents(&tokens), ["a", "b1", "b2", "c", "d1", "d2", "n"]);
    assert_eq!(tokens.n_documents(), 7);
    assert_eq!(tokens.n_bytes(), 11);
}

#[test]
fn frames_of_zstd_are_read_one_after_another() {
    let place = Place::new();
    place.put("two.txt.zst", [packed("one "), packed("two")].concat());
    assert_eq!(documents(&place.bytes()), ["one two"]);
}

#[test]
fn a_single_file_is_a_source_too() {
    let place = Place::new();
    let file = place.put("a.jsonl", "{\"text\": \"x\"}");
    place.put("b.txt", "not this");
    let made = place.prepare(&file, &TokenizerChoice::Bytes).unwrap();
    assert_eq!(documents(&TokenFolder::open(&made).unwrap()), ["x"]);
}

#[test]
fn progress_ends_at_the_size_on_disk() {
    let place = Place::new();
    let sizes = [place.put("a.txt", vec![b'x'; 700_000]), place.put("b.txt.zst", packed("packed"))]
        .map(|path| fs::metadata(path).unwrap().len());
    let mut seen: Vec<Progress> = Vec::new();
    prepare(&place.path("source"), &TokenizerChoice::Bytes, &place.cache(), &mut |progress| seen.push(progress))
        .unwrap();
    let total = sizes.iter().sum::<u64>();
    assert!(seen.len() > 3 && seen.is_sorted_by_key(|progress| progress.done_bytes), "{seen:?}");
    assert_eq!(seen.last(), Some(&Progress { done_bytes: total, total_bytes: total }));
}

#[test]
fn tokens_inside_a_source_are_no_text() {
    let place = Place::new();
    place.put("a.txt", "a");
    let made = place.prepare(&place.path("source"), &TokenizerChoice::Bytes).unwrap();
    fs::rename(made, place.path("source").join("tokens")).unwrap();
    assert_eq!(documents(&place.bytes()), ["a"]);
}
