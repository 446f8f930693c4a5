//! How many products ran in this process, so that a run can show which did: all three of a layer on E4M3 codes, and no
//! gradient twice.

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

/// Products since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProductCounts {
    /// y = x Wᵀ.
    pub forward: u64,
    /// dx = dy W.
    pub input_gradient: u64,
    /// dW = dyᵀ x.
    pub weight_gradient: u64,
}

/// Counts products of one kind.
pub(crate) struct Counter([AtomicU64; 3]);

/// On E4M3 codes.
pub(crate) static OF_CODES: Counter = Counter::new();
/// In the format of activations.
pub(crate) static PLAIN: Counter = Counter::new();

impl Counter {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 3])
    }

    pub(crate) fn add(&self, which: Which, n: u64) {
        self.0[which as usize].fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> ProductCounts {
        let [forward, input_gradient, weight_gradient] = [0, 1, 2].map(|i: usize| self.0[i].load(Ordering::Relaxed));
        ProductCounts { forward, input_gradient, weight_gradient }
    }
}
