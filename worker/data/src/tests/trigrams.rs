//! The baseline on texts whose entropy can be worked out by hand.

use super::encoding::{choice, words};
use super::place::Place;
use crate::trigram::{baseline, order_n};
use crate::{DataError, TokenFolder, TokenizerChoice};

fn tokens(place: &Place, name: &str, text: &str) -> TokenFolder {
    TokenFolder::open(&place.prepare(&place.put(name, text), &TokenizerChoice::Bytes).unwrap()).unwrap()
}

/// Nats per byte of contexts of none, one and two tokens, over 20 000 bytes.
fn orders(text: &str) -> [f64; 3] {
    let place = Place::new();
    let (train, held_out) = text.split_at(text.len() - 20_000);
    let (train, validation) = (tokens(&place, "train.txt", train), tokens(&place, "validation.txt", held_out));
    [1, 2, 3].map(|order| order_n(order, &train, &validation, None).unwrap())
}

fn about(found: [f64; 3], expected: [f64; 3]) {
    for (order, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 0.01, "order {}: {found}, by hand {expected}", order + 1);
    }
}

/// Two letters of context tell all, one tells some: after a comes a or b, after b comes b or c, after c comes a.
#[test]
fn a_cycle_of_five_letters() {
    let of_one = -(0.8 * 0.4f64.ln() + 0.2 * 0.2f64.ln());
    about(orders(&"aabbc".repeat(100_000)), [of_one, 0.8 * 2f64.ln(), 0.0]);
}

#[test]
fn letters_that_are_drawn_at_random_need_the_logarithm_of_their_number() {
    let mut state = 1u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + (state >> 62) as u8)
    };
    let text: String = (0..500_000).map(|_| letter()).collect();
    about(orders(&text), [4f64.ln(); 3]);
}

#[test]
fn what_was_never_counted_costs_the_uniform_distribution_or_little_more() {
    let place = Place::new();
    let train = tokens(&place, "train.txt", &"a".repeat(1000));
    let nats = baseline(&train, &tokens(&place, "validation.txt", &"z".repeat(1000)), None).unwrap();
    assert!(nats.is_finite() && nats > 257f64.ln() && nats < 20.0, "{nats}");
}

#[test]
fn only_the_beginning_counts_where_a_limit_is_given() {
    let place = Place::new();
    let train = tokens(&place, "train.txt", &"ab".repeat(5000));
    let validation = tokens(&place, "validation.txt", &("ab".repeat(500) + &"z".repeat(1000)));
    let of = |max_bytes| baseline(&train, &validation, max_bytes).unwrap();
    assert!(of(Some(1000)) < 0.05 && of(None) > 1.0, "{} {}", of(Some(1000)), of(None));
    assert_eq!(of(Some(1 << 40)), of(None));
    assert!(of(Some(0)).is_finite());
}

#[test]
fn words_are_compared_by_the_bytes_that_they_stand_for() {
    let place = Place::new();
    let tokenizer = choice(&place, &words(&["aaa", "bbb"]));
    let open = |name: &str, n| {
        let file = place.put(name, "aaa aaa bbb bbb ".repeat(n));
        TokenFolder::open(&place.prepare(&file, &tokenizer).unwrap()).unwrap()
    };
    let (train, validation) = (open("train.txt", 10_000), open("validation.txt", 1000));
    let [one, two, three] = [1, 2, 3].map(|order| order_n(order, &train, &validation, None).unwrap());
    // One of two words, four bytes each.
    assert!((one - 2f64.ln() / 4.0).abs() < 0.01 && (two - one).abs() < 0.01, "{one} {two}");
    assert!(three < 0.01, "{three}");
}

#[test]
fn tokens_that_cannot_be_compared_are_refused() {
    let place = Place::new();
    let bytes = tokens(&place, "train.txt", "text");
    let file = place.put("words.txt", "text");
    let made = place.prepare(&file, &choice(&place, &words(&["text"]))).unwrap();
    let error = baseline(&bytes, &TokenFolder::open(&made).unwrap(), None).unwrap_err();
    assert!(matches!(error, DataError::Vocabularies { train: 257, validation: 3, .. }), "{error}");
}
