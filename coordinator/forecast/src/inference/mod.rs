//! What serving costs, by formula: the cache of a token, the FLOPs of a token, the speed limit of expert parallelism
//! (arXiv 2505.09343).

mod published;

use serde::Serialize;

use crate::workload::{Attention, Network};

pub use published::{CacheRow, TrainingRow, cache_table, training_table};

/// Bytes that a token leaves in the cache: keys and values of every layer, or what latent attention compresses them to
/// (arXiv 2505.09343, table 1).
pub fn cache_bytes_per_token(network: &Network, bytes_per_element: f64) -> f64 {
    let elements = match network.attention {
        Attention::Grouped { kv_heads, head_dim, .. } => 2.0 * f64::from(kv_heads) * f64::from(head_dim),
        Attention::Latent { kv_rank, rope, .. } => f64::from(kv_rank + rope),
    };
    f64::from(network.layers) * elements * bytes_per_element
}

/// What limits decoding when a rank holds one expert and computation takes nothing (arXiv 2505.09343, §2.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ExchangeLimit {
    /// Tokens of a rank at once.
    pub tokens: f64,
    /// Experts that a token goes to, the shared one included.
    pub experts: f64,
    /// Width of a token.
    pub width: f64,
    /// Bytes of an element on its way to the experts.
    pub dispatch_bytes: f64,
    /// Bytes of an element on its way back.
    pub combine_bytes: f64,
    /// Layers.
    pub layers: f64,
    /// Bytes/s of a rank.
    pub bandwidth: f64,
}

impl ExchangeLimit {
    /// The paper's own numbers, at a bandwidth: 32 tokens, 8 routed experts and the shared one, 7,000 wide, FP8 out and
    /// BF16 back, 61 layers.
    pub fn published(bandwidth: f64) -> Self {
        Self {
            tokens: 32.0,
            experts: 9.0,
            width: 7000.0,
            dispatch_bytes: 1.0,
            combine_bytes: 2.0,
            layers: 61.0,
            bandwidth,
        }
    }

    /// Seconds of one dispatch and combine.
    pub fn exchange_seconds(&self) -> f64 {
        let bytes = (self.dispatch_bytes + self.combine_bytes) * self.tokens * self.experts * self.width;
        bytes / self.bandwidth
    }

    /// Seconds of one output token: two microbatches take turns, each exchanges in every layer.
    pub fn seconds_per_token(&self) -> f64 {
        2.0 * self.exchange_seconds() * self.layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_limits_are_those_of_the_paper() {
        let infiniband = ExchangeLimit::published(50e9);
        assert!((infiniband.exchange_seconds() * 1e6 - 120.96).abs() < 1e-9);
        assert!((infiniband.seconds_per_token() * 1e3 - 14.757_12).abs() < 1e-9);
        let nvl72 = ExchangeLimit::published(900e9);
        assert!((nvl72.exchange_seconds() * 1e6 - 6.72).abs() < 1e-9);
        assert!((nvl72.seconds_per_token() * 1e3 - 0.819_84).abs() < 1e-9);
    }
}
