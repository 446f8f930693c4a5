//! The tables of arXiv 2505.09343 that count bytes and FLOPs of a token, row by row from the models' public
//! configurations.

use serde::Serialize;

use super::cache_bytes_per_token;
use crate::workload::{Attention, Experts, FeedForward, Network};

/// Bytes of an element of the cache: BF16.
const CACHED: f64 = 2.0;

/// A row of table 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheRow {
    /// Whose.
    pub model: &'static str,
    /// Layers, and elements that a token leaves in each.
    pub layers: u32,
    /// Elements that a token leaves in each.
    pub elements: u32,
    /// Of one.
    pub bytes_per_element: f64,
    /// In the cache.
    pub bytes_per_token: f64,
    /// As printed.
    pub published: f64,
}

/// Table 1: the cache of a token.
pub fn cache_table() -> Vec<CacheRow> {
    let row = |model, network: Network, published| {
        let bytes_per_token = cache_bytes_per_token(&network, CACHED);
        let elements = (bytes_per_token / CACHED / f64::from(network.layers)) as u32;
        CacheRow { model, layers: network.layers, elements, bytes_per_element: CACHED, bytes_per_token, published }
    };
    vec![
        row("DeepSeek-V3", deepseek_v3(), 70_272.0),
        row("Qwen2.5-72B", qwen(), 327_680.0),
        row("LLaMA-3.1-405B", llama(), 516_096.0),
    ]
}

/// A row of table 2.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingRow {
    /// Whose.
    pub model: &'static str,
    /// Tokens of a sequence, with attention over the causal half of its pairs.
    pub sequence: u32,
    /// Forward and backward: six FLOPs a weight that a token meets, the head counted, the embedding not.
    pub gflop_per_token: f64,
    /// As printed, in whole ones.
    pub published: f64,
    /// What is to be known about it.
    pub note: &'static str,
}

/// Table 2: the computation of a token in training. It names no sequence: both DeepSeeks come out at 4,096 tokens,
/// LLaMA at 2,048. Its Qwen-72B does not come out: 394 is less than six times the weights of any published 72B.
pub fn training_table() -> Vec<TrainingRow> {
    let row = |model, network: Network, sequence: u32, published, note| {
        let gflop_per_token = network.training_flops_per_token(f64::from(sequence), true) / 1e9;
        TrainingRow { model, sequence, gflop_per_token, published, note }
    };
    vec![
        row("DeepSeek-V2 236B", deepseek_v2(), 4096, 155.0, "at the sequence of its training"),
        row("DeepSeek-V3 671B", deepseek_v3(), 4096, 250.0, "at the sequence of its training"),
        row("Qwen2.5-72B", qwen(), 4096, 394.0, "394 is less than six times the weights of any published 72B model"),
        row("LLaMA-3.1-405B", llama(), 2048, 2448.0, "the sequence is the one that the printed number comes out at"),
    ]
}

fn dense(layers: u32, hidden: u32, heads: u32, inner: u32, vocab: u32) -> Network {
    Network {
        attention: Attention::Grouped { heads, kv_heads: 8, head_dim: 128 },
        feed_forward: FeedForward { inner, gated: true },
        tied: false,
        ..Network::gpt(layers, hidden, heads, inner, vocab)
    }
}

fn llama() -> Network {
    dense(126, 16_384, 128, 53_248, 128_256)
}

fn qwen() -> Network {
    dense(80, 8192, 64, 29_568, 152_064)
}

fn deepseek_v3() -> Network {
    Network::from(&ds_arch::preset("deepseek-v3").expect("a preset"))
}

/// arXiv 2405.04434, the 236B.
fn deepseek_v2() -> Network {
    let attention = Attention::Latent { heads: 128, q_rank: Some(1536), kv_rank: 512, nope: 128, rope: 64, value: 128 };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_of_a_token_is_what_is_published() {
        for row in cache_table() {
            assert_eq!(row.bytes_per_token, row.published, "{}", row.model);
            assert_eq!(f64::from(row.layers * row.elements) * row.bytes_per_element, row.bytes_per_token);
        }
    }

    #[test]
    fn gigaflops_of_a_token_are_the_printed_ones_but_for_qwen() {
        for row in training_table() {
            let comes_out = row.gflop_per_token.round() == row.published;
            assert_eq!(comes_out, row.model != "Qwen2.5-72B", "{row:?}");
        }
        // Weights alone, without any attention between tokens, are more than what is printed.
        assert!(qwen().training_flops_per_token(0.0, true) / 1e9 > 394.0);
    }
}
