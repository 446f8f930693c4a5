//! The two ends of a network: embedding, and head with loss.

use super::{Block, Collective, Group, Layout, Network};
use crate::hardware::Format;

/// Rows of the embedding, and their gradients added.
pub fn embedding(network: &Network, layout: &Layout) -> Block {
    let mut block = Block::new("embedding");
    let n = layout.tokens() * f64::from(network.hidden);
    block.memory(10.0 * n / layout.between(), 10.0 * n / layout.between(), 3.0);
    block
}

/// Final norm, logits in 16 bits, and their cross entropy in FP32.
pub fn head(network: &Network, layout: &Layout) -> Block {
    let mut block = Block::new("head");
    let (m, d) = (layout.tokens(), f64::from(network.hidden));
    let vocab = f64::from(network.vocab) / f64::from(layout.tensor);
    block.memory(4.0 * m * d / layout.between(), 6.0 * m * d / layout.between(), 1.0);
    block.linear(m, d, vocab, Format::F16);
    // Cast, maximum, difference, exponential and sum; backward scales and casts.
    block.memory(20.0 * m * vocab, 8.0 * m * vocab, 6.0);
    if layout.tensor > 1 {
        block.collectives.push(Collective::AllReduce(Group::Tensor, 12.0 * m + m * d));
    }
    block
}

/// What an MTP module adds to its decoder layer: two norms and the projection of both (arXiv 2412.19437, equation 21).
pub fn prediction(network: &Network, layout: &Layout) -> Block {
    let mut block = Block::new("mtp");
    let (m, d) = (layout.tokens(), f64::from(network.hidden));
    block.memory(12.0 * m * d, 16.0 * m * d, 4.0);
    block.linear(m, 2.0 * d, d, layout.format);
    block
}
