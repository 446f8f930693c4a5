//! What counting reaches: a smoothed trigram of tokens, the least that a model must beat.
//!
//! p(w | t u) = (c(t u w) + M · p(w | u)) / (c(t u) + M): what was counted, mixed with the bigram as if that had been
//! seen M times (Dirichlet smoothing); the bigram mixes with the unigram in the same way, the unigram with the uniform
//! distribution. Only what occurs in the validation text is counted, so that memory is bounded by that text.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::error::DataError;
use crate::folder::TokenFolder;

/// How much the shorter context weighs: that of the unigram, the bigram, the trigram.
const PRIORS: [f64; 3] = [1.0, 64.0, 32.0];
/// The first tokens of the validation text that are compared on, at most.
const SCORED_MAX: u64 = 4 << 20;
/// Training tokens that are counted, at most; of more, runs that are spread evenly.
const COUNTED_MAX: u64 = 32 << 20;
/// Tokens of a run.
const RUN: u64 = 64 << 10;

/// Nats per byte of text that a trigram, counted on `train`, needs for `validation`: for as much of its beginning as
/// makes `max_bytes`, or for all.
///
/// # Errors
/// When the two have different vocabularies, or there is nothing to compare on.
pub fn baseline(train: &TokenFolder, validation: &TokenFolder, max_bytes: Option<u64>) -> Result<f64, DataError> {
    order_n(3, train, validation, max_bytes)
}

/// With contexts of up to `order - 1` tokens.
pub(crate) fn order_n(
    order: usize,
    train: &TokenFolder,
    validation: &TokenFolder,
    max_bytes: Option<u64>,
) -> Result<f64, DataError> {
    if train.vocab_size() != validation.vocab_size() {
        return Err(DataError::Vocabularies {
            train_path: train.path().to_owned(),
            train: train.vocab_size(),
            validation_path: validation.path().to_owned(),
            validation: validation.vocab_size(),
        });
    }
    let scored = 0..n_scored(validation, max_bytes);
    let n_bytes = validation.bytes_of(scored.clone());
    let tokens = validation.tokens(scored);
    if tokens.len() < 2 || n_bytes == 0 {
        return Err(DataError::TooFewTokens { path: validation.path().to_owned(), n_tokens: validation.n_tokens() });
    }
    let mut grams = Grams::of(&tokens, order);
    for run in runs(train.n_tokens()) {
        grams.count(&train.tokens(run));
    }
    Ok(grams.nats(&tokens, train.vocab_size()) / n_bytes as f64)
}

/// The longest beginning that stands for no more than `max_bytes`.
fn n_scored(validation: &TokenFolder, max_bytes: Option<u64>) -> u64 {
    let all = validation.n_tokens().min(SCORED_MAX);
    let Some(max_bytes) = max_bytes else { return all };
    let (mut fits, mut beyond) = (0, all + 1);
    while fits + 1 < beyond {
        let middle = fits.midpoint(beyond);
        if validation.bytes_of(0..middle) <= max_bytes { fits = middle } else { beyond = middle }
    }
    fits.max(2).min(all)
}

/// The parts of the training row that are counted.
fn runs(n_tokens: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    let n_all = n_tokens.div_ceil(RUN);
    let n_taken = n_all.min(COUNTED_MAX / RUN);
    (0..n_taken).map(move |i| {
        let start = (u128::from(i) * u128::from(n_all) / u128::from(n_taken)) as u64 * RUN;
        start..(start + RUN).min(n_tokens)
    })
}

/// The grams of a text, of one token to `order`, and how often each was counted.
struct Grams {
    /// Of one token, two, three.
    levels: Vec<HashMap<u64, Gram, BuildHasherDefault<MixHasher>>>,
    n_counted: u64,
}

#[derive(Clone, Copy)]
struct Gram {
    /// Among those of its length.
    id: u32,
    count: u32,
}

/// A gram is known by the id of its context and its last token.
fn key(context: u32, token: u32) -> u64 {
    u64::from(context) << 32 | u64::from(token)
}

impl Grams {
    fn of(tokens: &[u32], order: usize) -> Self {
        let mut grams = Self { levels: vec![HashMap::default(); order], n_counted: 0 };
        let mut context = Context::default();
        for &token in tokens {
            context = context.next(|level, id| {
                let grams = grams.levels.get_mut(level)?;
                let new = Gram { id: grams.len() as u32, count: 0 };
                Some(grams.entry(key(id, token)).or_insert(new).id)
            });
        }
        grams
    }

    fn count(&mut self, tokens: &[u32]) {
        self.n_counted += tokens.len() as u64;
        let mut context = Context::default();
        for &token in tokens {
            context = context.next(|level, id| {
                let gram = self.levels.get_mut(level)?.get_mut(&key(id, token))?;
                gram.count = gram.count.saturating_add(1);
                Some(gram.id)
            });
        }
    }

    /// Of all tokens but the first, which nothing predicts.
    fn nats(&self, tokens: &[u32], vocab_size: u32) -> f64 {
        let mut nats = 0.0;
        let mut context = Context::default();
        // How often each context was counted: of no token, of one, of two.
        let mut totals = [Some(self.n_counted), None, None];
        for (i, &token) in tokens.iter().enumerate() {
            let mut p = 1.0 / f64::from(vocab_size);
            let mut next_totals = [totals[0], None, None];
            context = context.next(|level, id| {
                let gram = self.levels.get(level)?.get(&key(id, token))?;
                let total = totals[level]? as f64;
                p = (f64::from(gram.count) + PRIORS[level] * p) / (total + PRIORS[level]);
                if let Some(next) = next_totals.get_mut(level + 1) {
                    *next = Some(u64::from(gram.count));
                }
                Some(gram.id)
            });
            totals = next_totals;
            nats -= if i > 0 { p.ln() } else { 0.0 };
        }
        nats
    }
}

/// Ids of the grams that end at a token: of none, one, two.
#[derive(Clone, Copy)]
struct Context([Option<u32>; 3]);

impl Default for Context {
    fn default() -> Self {
        Self([Some(0), None, None])
    }
}

impl Context {
    /// One token on; `gram` finds the id of the gram that continues a context, by its level and the context's id.
    fn next(self, mut gram: impl FnMut(usize, u32) -> Option<u32>) -> Self {
        let mut next = Self::default();
        for (level, context) in self.0.into_iter().enumerate() {
            let id = context.and_then(|context| gram(level, context));
            if let Some(slot) = next.0.get_mut(level + 1) {
                *slot = id;
            }
        }
        next
    }
}

/// Keys are spread by one multiplication.
#[derive(Default)]
struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}
