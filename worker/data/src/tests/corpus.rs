//! The baseline on the corpus that `./setup` fetches.

use std::io::Write as _;
use std::path::Path;

use super::place::Place;
use crate::trigram::order_n;
use crate::{TokenFolder, TokenizerChoice};

/// An independent program, with the counts in plain tables, found 2.0720 for the trigram.
#[test]
fn shakespeare() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/shakespeare");
    if !corpus.join(".complete").exists() {
        // Past the capture of the test harness, which would swallow it.
        let _ = writeln!(std::io::stderr(), "NOT RUN: ./setup fetches the corpus");
        return;
    }
    let place = Place::new();
    let open =
        |name: &str| TokenFolder::open(&place.prepare(&corpus.join(name), &TokenizerChoice::Bytes).unwrap()).unwrap();
    let (train, validation) = (open("train"), open("validation"));
    assert_eq!((train.n_documents(), validation.n_documents()), (38, 4));
    assert_eq!((train.n_bytes(), validation.n_bytes()), (4_599_954, 457_244));
    let [one, two, three] = [1, 2, 3].map(|order| order_n(order, &train, &validation, None).unwrap());
    assert!((three - 2.0720).abs() < 0.001, "{three}");
    assert!(one > 3.0 && two > 2.4 && two < one, "{one} {two}");
}
