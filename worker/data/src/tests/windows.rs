//! Windows and bytes, over one shard and over many.

use std::fs;

use super::place::Place;
use crate::TokenFolder;
use crate::manifest::{Layout, Lengths, MARK_EVERY};
use crate::writer::Writer;

/// A folder of 0, 1, 2 … in shards of so many tokens; token i stands for i % 300 bytes.
fn counting(place: &Place, n: u32, shard_tokens: u64) -> TokenFolder {
    let folder = place.path(&format!("shards-of-{shard_tokens}"));
    fs::create_dir(&folder).unwrap();
    let mut writer = Writer::new(&folder, Layout::new(n + 1, n, Lengths::Listed), shard_tokens);
    for token in 0..n {
        writer.push(token, u64::from(token % 300)).unwrap();
    }
    writer.finish("counting".to_owned()).unwrap();
    TokenFolder::open(&folder).unwrap()
}

#[test]
fn a_window_begins_at_its_sequence_and_shares_its_last_tokens() {
    let place = Place::new();
    let tokens = counting(&place, 10, 4);
    assert_eq!(tokens.window(0, 3, 1), [0, 1, 2, 3]);
    assert_eq!(tokens.window(1, 3, 2), [3, 4, 5, 6, 7]);
    assert_eq!(tokens.window(2, 3, 2), [6, 7, 8, 9], "the row's end cuts it short");
    assert!(tokens.window(4, 3, 2).is_empty(), "there is none");
    assert!(tokens.window(u64::MAX, 3, 2).is_empty(), "nor here");
}

#[test]
fn windows_are_counted_so_that_each_is_whole_or_has_a_target() {
    let place = Place::new();
    let tokens = counting(&place, 10, 100);
    for (sequence, extra, whole) in [(3, 1, 3), (3, 2, 2), (9, 1, 1), (10, 1, 0), (1, 1, 9), (11, 3, 0), (0, 1, 0)] {
        assert_eq!(tokens.n_windows(sequence, extra), whole, "sequence {sequence}, extra {extra}");
        if let Some(last) = whole.checked_sub(1) {
            assert_eq!(tokens.window(last, sequence, extra).len() as u32, sequence + extra);
            assert!(tokens.window(whole, sequence, extra).len() < (sequence + extra) as usize);
        }
    }
    for (sequence, with_tail) in [(3, 3), (4, 3), (8, 2), (9, 1), (100, 1), (0, 0)] {
        assert_eq!(tokens.n_windows_with_tail(sequence), with_tail, "sequence {sequence}");
    }
    // 9 targets: 3 + 3 + 3; of 4 and 4 the last has one input and one target.
    assert_eq!(tokens.window(2, 4, 1), [8, 9]);
}

#[test]
fn shards_do_not_show() {
    let place = Place::new();
    let n = 3 * MARK_EVERY as u32 + 500;
    let one = counting(&place, n, u64::MAX);
    for shard_tokens in [1000, MARK_EVERY, MARK_EVERY + 1] {
        let many = counting(&place, n, shard_tokens);
        assert!(many.tokens(0..u64::MAX) == (0..n).collect::<Vec<_>>(), "shards of {shard_tokens}");
        for (sequence, extra) in [(7, 1), (1000, 2), (5000, 1)] {
            for index in 0..=one.n_windows(sequence, extra) {
                assert_eq!(many.window(index, sequence, extra), one.window(index, sequence, extra));
            }
        }
    }
}

#[test]
fn bytes_of_a_range_are_the_sum_of_its_tokens() {
    let place = Place::new();
    let n = 2 * MARK_EVERY as u32 + 77;
    let all = u64::from(n);
    for shard_tokens in [900, u64::MAX] {
        let tokens = counting(&place, n, shard_tokens);
        let sum = |range: std::ops::Range<u64>| range.map(|token| token % 300).sum::<u64>();
        for start in [0, 1, 299, 899, 900, 4095, 4096, all - 1, all] {
            for end in [0, 1, 300, 901, 4095, 4097, 8192, all] {
                assert_eq!(tokens.bytes_of(start..end), sum(start..end), "{start}..{end}");
            }
        }
        assert_eq!(tokens.bytes_of(0..u64::MAX), tokens.n_bytes(), "beyond the end there is nothing");
        assert_eq!(tokens.n_bytes(), sum(0..all));
    }
}

#[test]
fn bytes_of_bytes_leave_out_the_ends() {
    let place = Place::new();
    let lines: String = (0..5000).map(|_| "{\"text\": \"ab\"}\n").collect();
    place.put("a.jsonl", lines);
    let tokens = place.bytes();
    assert_eq!(tokens.n_tokens(), 15_000);
    for end in [0, 1, 2, 3, 4096, 4097, 12_288, 14_999, 15_000] {
        assert_eq!(tokens.bytes_of(0..end), end - end / 3, "{end}");
    }
    assert_eq!(tokens.bytes_of(2..3), 0);
}
