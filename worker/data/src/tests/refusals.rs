//! What cannot be used is named, with what to do.

use std::fs;
use std::path::Path;

use super::encoding::{choice, words};
use super::place::Place;
use crate::{TokenFolder, TokenizerChoice};

const BYTES: TokenizerChoice = TokenizerChoice::Bytes;

fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

#[test]
fn a_source_without_text() {
    let place = Place::new();
    says(
        &place.prepare(&place.path("nowhere"), &BYTES).unwrap_err().to_string(),
        &["nowhere", "check that it is there"],
    );
    fs::create_dir(place.path("source")).unwrap();
    says(&place.refusal(&BYTES), &["source holds no text", ".jsonl"]);
    place.put("blank.jsonl", "\n\n{\"text\": \"\"}\n");
    says(&place.refusal(&BYTES), &["source holds no text"]);
}

#[test]
fn a_format_that_is_no_text() {
    let place = Place::new();
    place.put("news.txt.gz", "?");
    says(&place.refusal(&BYTES), &["news.txt.gz is .gz", ".zst"]);
}

#[test]
fn a_line_that_does_not_read() {
    let place = Place::new();
    place.put("a.jsonl", "{\"text\": \"x\"}\n{\"txt\": \"y\"}\n");
    says(&place.refusal(&BYTES), &["a.jsonl line 2", "missing field `text`"]);
}

#[test]
fn zstd_that_was_cut_short_or_is_none() {
    let place = Place::new();
    let whole = zstd::encode_all(&[7u8; 100_000][..], 3).unwrap();
    for broken in [&whole[..whole.len() - 3], b"no zstd at all"] {
        place.put("a.txt.zst", broken);
        says(&place.refusal(&BYTES), &["a.txt.zst", "check that it is there, whole"]);
    }
}

#[test]
fn text_that_is_not_utf8() {
    let place = Place::new();
    let tokenizer = choice(&place, &words(&["the"]));
    let mut text = "the \n".repeat(30_000).into_bytes();
    text[120_007] = 0xff;
    place.put("a.txt", &text);
    says(&place.refusal(&tokenizer), &["a.txt is not UTF-8 at byte 120007", "iconv"]);
    place.put("a.txt", b"the \xe2\x98");
    says(&place.refusal(&tokenizer), &["a.txt is not UTF-8 at byte 4"]);
}

#[test]
fn a_tokenizer_that_is_none() {
    let place = Place::new();
    place.put("a.txt", "text");
    says(&place.refusal(&choice(&place, b"{}")), &["tokenizer.json is no tokenizer"]);
    says(&place.refusal(&TokenizerChoice::File(place.path("gone.json"))), &["cannot read", "gone.json"]);
}

/// A folder of tokens, after something was done to it.
fn opened(spoil: impl FnOnce(&Path)) -> String {
    let place = Place::new();
    let made = place.prepare(&place.put("a.txt", "some text\n".repeat(1000)), &BYTES).unwrap();
    TokenFolder::open(&made).unwrap();
    spoil(&made);
    TokenFolder::open(&made).unwrap_err().to_string()
}

fn replaced(from: &str, to: &str) -> impl FnOnce(&Path) {
    move |folder| {
        let path = folder.join("manifest.json");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

#[test]
fn a_shard_that_is_not_what_was_written() {
    let flipped = opened(|folder| {
        let path = folder.join("00000.tokens");
        let mut tokens = fs::read(&path).unwrap();
        tokens[777] ^= 1;
        fs::write(path, tokens).unwrap();
    });
    says(&flipped, &["00000.tokens is corrupt", "checksum", "make the tokens anew"]);
    let short = opened(|folder| {
        fs::File::options().write(true).open(folder.join("00000.tokens")).unwrap().set_len(5000).unwrap();
    });
    says(&short, &["00000.tokens has 5000 bytes", "20002"]);
    says(&opened(|folder| fs::remove_file(folder.join("00000.marks")).unwrap()), &["cannot read", "00000.marks"]);
}

#[test]
fn a_manifest_that_does_not_fit() {
    says(&opened(replaced("\"version\": 1", "\"version\": 2")), &["manifest.json has version 2", "reads version 1"]);
    says(&opened(replaced("dsctl-tokens", "other")), &["is no manifest of tokens", "`format`"]);
    says(&opened(replaced("\"n_tokens\": 10001", "\"n_tokens\": 10002")), &["`n_tokens` is 10002", "10001"]);
    says(&opened(replaced("\"vocab_size\": 257", "\"vocab_size\": 256")), &["vocabulary of 256"]);
    says(&opened(replaced("\"size\": 20002", "\"size\": 20000")), &["shard 0", "20002"]);
    says(&opened(replaced("{", "")), &["is no manifest of tokens"]);
    says(&opened(replaced("\"layout\"", "\"lay\"")), &["missing field `layout`"]);
}

#[test]
fn a_folder_that_is_none_of_tokens() {
    let place = Place::new();
    says(&TokenFolder::open(&place.path("nowhere")).unwrap_err().to_string(), &["nowhere"]);
    place.put("a.txt", "text");
    says(
        &TokenFolder::open(&place.path("source")).unwrap_err().to_string(),
        &["source holds no tokens", "dsctl data tokenize"],
    );
}
