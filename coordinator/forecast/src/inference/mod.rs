//! What serving costs, by formula: the cache of a token, the FLOPs of a token, the speed limit of expert parallelism
//! (arXiv 2505.09343).

use crate::workload::{Attention, Network};

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
#[derive(Clone, Copy, Debug, PartialEq)]
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
    use crate::workload::{Experts, FeedForward};

    fn dense(layers: u32, hidden: u32, heads: u32, inner: u32, vocab: u32) -> Network {
        Network {
            attention: Attention::Grouped { heads, kv_heads: 8, head_dim: 128 },
            feed_forward: FeedForward { inner, gated: true },
            tied: false,
            ..Network::gpt(layers, hidden, heads, inner, vocab)
        }
    }

    fn deepseek_v3() -> Network {
        Network::from(&ds_arch::preset("deepseek-v3").unwrap())
    }

    #[test]
    fn the_cache_of_a_token_is_what_is_published() {
        let llama = dense(126, 16_384, 128, 53_248, 128_256);
        let qwen = dense(80, 8192, 64, 29_568, 152_064);
        for (network, bytes) in [(deepseek_v3(), 70_272.0), (qwen, 327_680.0), (llama, 516_096.0)] {
            assert_eq!(cache_bytes_per_token(&network, 2.0), bytes);
        }
    }

    #[test]
    fn the_speed_limits_are_those_of_the_paper() {
        let infiniband = ExchangeLimit::published(50e9);
        assert!((infiniband.exchange_seconds() * 1e6 - 120.96).abs() < 1e-9);
        assert!((infiniband.seconds_per_token() * 1e3 - 14.757_12).abs() < 1e-9);
        let nvl72 = ExchangeLimit::published(900e9);
        assert!((nvl72.exchange_seconds() * 1e6 - 6.72).abs() < 1e-9);
        assert!((nvl72.seconds_per_token() * 1e3 - 0.819_84).abs() < 1e-9);
    }

    /// arXiv 2405.04434, the 236B.
    fn deepseek_v2() -> Network {
        let attention =
            Attention::Latent { heads: 128, q_rank: Some(1536), kv_rank: 512, nope: 128, rope: 64, value: 128 };
        let experts = Experts { n: 160, top_k: 6, inner: 1536, shared_inner: 3072, max_nodes: Some(3), biased: false };
        Network {
            layers: 60,
            dense_layers: 1,
            hidden: 5120,
            vocab: 102_400,
            attention,
            window: None,
            feed_forward: FeedForward { inner: 12_288, gated: true },
            experts: Some(experts),
            mtp_depth: 0,
            tied: false,
        }
    }

    #[test]
    fn gigaflops_of_a_token_are_the_printed_ones() {
        // arXiv 2505.09343, table 2. It names no sequence: both DeepSeeks fit at 4,096 tokens, LLaMA at 2,048. The 394
        // of its Qwen-72B are less than six times the weights of any published 72B and are left out.
        let llama = dense(126, 16_384, 128, 53_248, 128_256);
        let rows = [(deepseek_v2(), 4096.0, 155.0), (deepseek_v3(), 4096.0, 250.0), (llama, 2048.0, 2448.0)];
        for (network, sequence, printed) in rows {
            let flops = network.training_flops_per_token(sequence, true) / 1e9;
            assert_eq!(flops.round(), printed, "{flops}");
        }
    }
}
