//! Tokens of a tokenizer of Hugging Face, and the bytes that each stands for.

use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::place::Place;
use crate::{TokenFolder, TokenizerChoice};

/// A tokenizer.json that knows these words, apart by blanks; `[UNK]` is 0, the words follow.
pub(super) fn words(words: &[&str]) -> Vec<u8> {
    let vocab: Map<String, Value> =
        ["[UNK]"].iter().chain(words).enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let special: Vec<Value> = vocab.iter().filter(|(word, _)| word.starts_with("</")).map(special).collect();
    tokenizer(
        json!({"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}),
        json!({"type": "Whitespace"}),
        &special,
    )
}

fn special((word, id): (&String, &Value)) -> Value {
    json!({"id": id, "content": word, "special": true, "normalized": false,
           "single_word": false, "lstrip": false, "rstrip": false})
}

fn tokenizer(model: Value, pre_tokenizer: Value, added_tokens: &[Value]) -> Vec<u8> {
    let json = json!({
        "version": "1.0", "added_tokens": added_tokens, "normalizer": null, "pre_tokenizer": pre_tokenizer,
        "post_processor": null, "decoder": null, "model": model,
        // Neither may shorten or lengthen what we store.
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]"},
    });
    serde_json::to_vec(&json).unwrap()
}

/// One token for each byte, by its number, as byte-level BPE without merges has it.
pub(super) fn byte_level() -> Vec<u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 256;
    let mut letter = |byte: u8| {
        let code = if printable(byte) { u32::from(byte) } else { next };
        next += u32::from(!printable(byte));
        char::from_u32(code).unwrap().to_string()
    };
    let vocab: Map<String, Value> = (0..=255).map(|byte| (letter(byte), json!(byte))).collect();
    let split = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    tokenizer(json!({"type": "BPE", "vocab": vocab, "merges": []}), split, &[])
}

fn encoded(place: &Place, tokenizer: &[u8], text: &str) -> TokenFolder {
    let choice = choice(place, tokenizer);
    TokenFolder::open(&place.prepare(&place.put("a.txt", text), &choice).unwrap()).unwrap()
}

pub(super) fn choice(place: &Place, tokenizer: &[u8]) -> TokenizerChoice {
    let path: PathBuf = place.path("tokenizer.json");
    fs::write(&path, tokenizer).unwrap();
    TokenizerChoice::File(path)
}

fn lengths(tokens: &TokenFolder) -> Vec<u64> {
    (0..tokens.n_tokens()).map(|i| tokens.bytes_of(i..i + 1)).collect()
}

#[test]
fn words_become_tokens_and_their_own_end_ends_a_document() {
    let place = Place::new();
    let tokens = encoded(&place, &words(&["the", "cat", "sat", "</s>"]), "the cat  sat\n");
    assert_eq!(tokens.tokens(0..9), [1, 2, 3, 4]);
    // Blanks count with what follows them.
    assert_eq!(lengths(&tokens), [3, 4, 5, 1]);
    assert_eq!((tokens.vocab_size(), tokens.end_of_document(), tokens.n_bytes()), (5, 4, 13));
}

#[test]
fn without_an_end_of_its_own_a_tokenizer_gets_one_more_token() {
    let place = Place::new();
    let tokens = encoded(&place, &words(&["the", "cat"]), "the dog");
    assert_eq!(tokens.tokens(0..9), [1, 0, 3]);
    assert_eq!((tokens.vocab_size(), tokens.end_of_document()), (4, 3));
}

#[test]
fn text_that_spells_out_the_end_does_not_end_a_document() {
    let place = Place::new();
    let tokens = encoded(&place, &words(&["the", "cat", "</s>"]), "the </s> cat");
    let all = tokens.tokens(0..99);
    assert_eq!((all[0], all[all.len() - 2]), (1, 2));
    assert_eq!(all.iter().filter(|&&token| token == 3).count(), 1, "{all:?}");
}

#[test]
fn a_character_of_several_tokens_counts_once() {
    let place = Place::new();
    let tokens = encoded(&place, &byte_level(), "é☃ x");
    let expected: Vec<u32> = "é☃ x".bytes().map(u32::from).chain([256]).collect();
    assert_eq!(tokens.tokens(0..99), expected);
    assert_eq!(tokens.n_bytes(), 7);
    let lengths = lengths(&tokens);
    assert_eq!((lengths[..2].iter().sum::<u64>(), lengths[2..5].iter().sum::<u64>()), (2, 3), "{lengths:?}");
}

#[test]
fn a_token_of_a_thousand_bytes_is_counted_in_full() {
    let place = Place::new();
    let text = format!("the {} the {} the", "x".repeat(1000), "y".repeat(254));
    let tokens = encoded(&place, &words(&["the"]), &text);
    assert_eq!(lengths(&tokens), [3, 1001, 4, 255, 4, 0]);
    assert_eq!(tokens.n_bytes(), text.len() as u64);
}

#[test]
fn a_document_that_is_encoded_in_pieces_comes_back_whole() {
    let place = Place::new();
    let line = |i: usize| format!("line {i} — {}\n", "snö ".repeat(i % 40));
    let text: String = (0..20_000).map(line).collect();
    assert!(text.len() > 2 << 20);
    let tokens = encoded(&place, &byte_level(), &text);
    let bytes: Vec<u8> = tokens.tokens(0..tokens.n_tokens() - 1).into_iter().map(|token| token as u8).collect();
    assert!(bytes == text.as_bytes(), "the text did not come back");
    assert_eq!((tokens.n_bytes(), tokens.n_documents()), (text.len() as u64, 1));
}

#[test]
fn pieces_do_not_change_tokens() {
    let place = Place::new();
    let text = "the cat  sat\n\n the\n".repeat(20_000);
    let tokens = encoded(&place, &words(&["the", "cat", "sat"]), &text);
    let all = tokens.tokens(0..u64::MAX);
    assert_eq!(all.len(), 80_001);
    assert!(all[..80_000].chunks(4).all(|four| four == [1, 2, 3, 1]));
    assert_eq!(tokens.n_bytes(), text.len() as u64);
}

#[test]
fn a_great_vocabulary_is_stored_in_four_bytes() {
    let place = Place::new();
    let names: Vec<String> = (0..70_000).map(|i| format!("w{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let tokens = encoded(&place, &words(&names), "w69999 w3 w65535");
    assert_eq!(tokens.tokens(0..9), [70_000, 4, 65_536, 70_001]);
}

#[test]
fn documents_of_jsonl_are_apart() {
    let place = Place::new();
    let choice = choice(&place, &words(&["a", "b", "</s>"]));
    let file = place.put("a.jsonl", "{\"text\": \"a b\"}\n{\"text\": \"b\"}\n");
    let tokens = TokenFolder::open(&place.prepare(&file, &choice).unwrap()).unwrap();
    assert_eq!(tokens.tokens(0..9), [1, 2, 3, 2, 3]);
    assert_eq!((tokens.n_documents(), tokens.n_bytes()), (2, 4));
}
