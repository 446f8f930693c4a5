//! Text that is shown while its tokens come.

use serde_json::{Value, json};

use super::encoding::{byte_level, choice};
use super::place::Place;
use crate::{TextStream, TokenizerChoice, Vocabulary};

/// What was shown at each token, and at the end.
fn shown(vocabulary: &Vocabulary, prompt: &[u32], tokens: &[u32]) -> Vec<String> {
    let mut stream = TextStream::new(vocabulary, prompt);
    let mut parts: Vec<String> = tokens.iter().map(|&token| stream.push(&[token]).unwrap()).collect();
    parts.push(stream.finish().unwrap());
    parts
}

fn bytes() -> Vocabulary {
    Vocabulary::open(&TokenizerChoice::Bytes).unwrap()
}

/// Byte by byte, with the decoder that such tokenizers have.
fn words(place: &Place) -> Vocabulary {
    let mut json: Value = serde_json::from_slice(&byte_level()).unwrap();
    json["decoder"] = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    Vocabulary::open(&choice(place, &serde_json::to_vec(&json).unwrap())).unwrap()
}

#[test]
fn a_letter_is_shown_when_its_last_byte_has_come() {
    let place = Place::new();
    let tokens: Vec<u32> = "aé€😀".bytes().map(u32::from).collect();
    for vocabulary in [bytes(), words(&place)] {
        let expected = ["a", "", "é", "", "", "€", "", "", "", "😀", ""];
        assert_eq!(shown(&vocabulary, &[98], &tokens), expected);
    }
}

#[test]
fn what_is_shown_is_what_all_tokens_spell_however_broken_they_are() {
    let place = Place::new();
    for vocabulary in [bytes(), words(&place)] {
        let mut state = 7_u64;
        for length in 0..200 {
            // Many leading and continuing bytes of long letters, and some letters.
            let mut byte = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                [0x41, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80, 0xff][(state >> 33) as usize % 11]
            };
            let tokens: Vec<u32> = (0..length).map(|_| byte()).collect();
            let prompt: Vec<u32> = "a prompt: é".bytes().map(u32::from).collect();
            let whole = vocabulary.decode(&[&prompt[..], &tokens].concat()).unwrap();
            assert_eq!(format!("a prompt: é{}", shown(&vocabulary, &prompt, &tokens).concat()), whole, "{tokens:x?}");
        }
    }
}
