//! How many products ran on E4M3 codes in this process, so that a run can show that all three of a layer did.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which of a layer's products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// y = x Wᵀ.
    Forward,
    /// dx = dy W.
    InputGradient,
    /// dW = dyᵀ x.
    WeightGradient,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::InputGradient => "input gradient",
            Self::WeightGradient => "weight gradient",
        })
    }
}

static COUNTS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Products of E4M3 codes since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProductCounts {
    /// y = x Wᵀ.
    pub forward: u64,
    /// dx = dy W.
    pub input_gradient: u64,
    /// dW = dyᵀ x.
    pub weight_gradient: u64,
}

/// Products of E4M3 codes since the process started.
pub fn product_counts() -> ProductCounts {
    let [forward, input_gradient, weight_gradient] = [0, 1, 2].map(|i: usize| COUNTS[i].load(Ordering::Relaxed));
    ProductCounts { forward, input_gradient, weight_gradient }
}

pub(super) fn count(which: Which) {
    count_many(which, 1);
}

pub(super) fn count_many(which: Which, n: u64) {
    COUNTS[which as usize].fetch_add(n, Ordering::Relaxed);
}
