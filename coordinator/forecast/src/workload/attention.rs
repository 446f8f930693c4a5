//! The kernels of attention: grouped-query, multi-head and latent.

use super::{Attention, Block, Collective, Group, Kernel, Kernels, Layout, Network, Role};
use crate::hardware::Format;

/// Norm, projections, scores, values, output projection and residual of one layer, for one microbatch on one rank.
pub fn attention(network: &Network, layout: &Layout) -> Block {
    let mut block = Block::new("attention");
    let (m, t) = (layout.tokens(), f64::from(layout.tensor));
    let d = f64::from(network.hidden);
    around(&mut block, layout, m * d, network.experts.is_none() && !network.feed_forward.gated);
    match network.attention {
        Attention::Grouped { heads, kv_heads, head_dim } => {
            let [heads, kv_heads, head_dim] = [heads, kv_heads, head_dim].map(f64::from);
            // Ranks beyond the key heads hold copies of them.
            let kv_heads = kv_heads.max(t);
            let (q, kv) = (heads * head_dim / t, kv_heads * head_dim / t);
            block.linear(m, d, q + 2.0 * kv, layout.format);
            let pairs = network.pairs_per_token(f64::from(layout.sequence));
            scores(&mut block, layout, pairs, (heads / t, kv_heads / t), (head_dim, head_dim));
            block.linear(m, q, d, layout.format);
        }
        Attention::Latent { heads, q_rank, kv_rank, nope, rope, value } => {
            let [heads, kv_rank, nope, rope, value] = [heads, kv_rank, nope, rope, value].map(f64::from);
            let heads = heads / t;
            let mut ups = Vec::new();
            match q_rank.map(f64::from) {
                Some(rank) => {
                    block.linear(m, d, rank, layout.format);
                    block.linear(m, rank, heads * (nope + rope), layout.format);
                    ups.extend(block.forward.last().copied());
                    // The norm of the compressed query.
                    block.memory(4.0 * m * rank, 8.0 * m * rank, 1.0);
                }
                None => block.linear(m, d, heads * (nope + rope), layout.format),
            }
            block.linear(m, d, kv_rank + rope, layout.format);
            block.linear(m, kv_rank, heads * (nope + value), layout.format);
            ups.extend(block.forward.last().copied());
            // The norm of the compressed key, and the shared rotary key copied beside every head's.
            let keys = m * heads * (nope + rope);
            block.memory(4.0 * m * kv_rank + 4.0 * keys, 8.0 * m * kv_rank + 4.0 * keys, 2.0);
            let pairs = network.pairs_per_token(f64::from(layout.sequence));
            scores(&mut block, layout, pairs, (heads, heads), (nope + rope, value));
            block.linear(m, heads * value, d, layout.format);
            ups.push(Kernel::Memory { bytes: 4.0 * m * d + 4.0 * keys, n: 2.0 });
            block.cheap = ups;
        }
    }
    quantise(&mut block, layout);
    between(&mut block, layout, m * d);
    block
}

/// Norm before and residual after a block of `n` elements; with dropout where the model has biases.
pub(super) fn around(block: &mut Block, layout: &Layout, n: f64, biased: bool) {
    let n = n / layout.between();
    // Norm: read, write. Residual: read twice, write. Backward: norm reads input and gradient and writes one; the two
    // gradients of the stream are added.
    let (mut forward, mut backward, mut kernels) = (10.0 * n, 12.0 * n, 2.0);
    if biased {
        // A mask a byte an element; fused or in three passes.
        forward += if layout.kernels == Kernels::Separate { 9.0 * n } else { n };
        backward += if layout.kernels == Kernels::Separate { 9.0 * n } else { 5.0 * n };
        kernels += if layout.kernels == Kernels::Separate { 2.0 } else { 0.0 };
    }
    block.memory(forward, backward, kernels);
}

/// Scores, softmax and values of so many heads of queries and of keys, whose keys and values are so wide; a token looks
/// at `pairs` others.
fn scores(block: &mut Block, layout: &Layout, pairs: f64, (heads, kv_heads): (f64, f64), (key, value): (f64, f64)) {
    let (m, s) = (layout.tokens(), f64::from(layout.sequence));
    // Rotary positions or transposes of queries and keys: read and write.
    block.memory(4.0 * m * heads * key, 4.0 * m * heads * key, 2.0);
    if layout.kernels == Kernels::FusedAttention {
        // Context ranks divide the pairs evenly.
        let flops = 2.0 * m * pairs * heads * (key + value);
        let bytes = 2.0 * m * (heads * (key + value) + kv_heads * (key + value));
        block.forward.push(Kernel::FusedAttention { flops, bytes, backward: false });
        // Scores are computed again: five products instead of two.
        block.input.push(Kernel::FusedAttention { flops: 2.5 * flops, bytes: 2.0 * bytes, backward: true });
        if layout.context > 1 {
            let whole = 2.0 * m * f64::from(layout.context) * kv_heads * (key + value);
            block.collectives.push(Collective::Gather(Group::Context, whole));
        }
        return;
    }
    let batches = m / s * heads;
    let product =
        |columns, depth| Kernel::Matmul { rows: s, columns, depth, batches, format: Format::F16, role: Role::Plain };
    // Softmax reads and writes; dropout reads, writes, and keeps a mask. The fused softmax wants heads by fours.
    let pairs = batches * s * s;
    let fused = batches % 4.0 == 0.0;
    let softmax = Kernel::Memory { bytes: pairs * if fused { 9.0 } else { 30.0 }, n: if fused { 2.0 } else { 8.0 } };
    let back = Kernel::Memory { bytes: pairs * if fused { 11.0 } else { 25.0 }, n: if fused { 2.0 } else { 8.0 } };
    let core = [product(s, key), softmax, product(value, s)];
    block.forward.extend(core);
    block.input.extend([product(s, value), product(value, s), back, product(key, s), product(key, s)]);
    block.cheap.extend(core);
}

/// Casts to 8 bits before every product: the operand is read in 16 bits and written twice, as it is and transposed.
pub(super) fn quantise(block: &mut Block, layout: &Layout) {
    if layout.format != Format::Fp8 {
        return;
    }
    let operand = |kernel: &Kernel| match *kernel {
        Kernel::Matmul { rows, depth, batches, format: Format::Fp8, .. } => 4.0 * rows * depth * batches,
        _ => 0.0,
    };
    let cast = |kernels: &[Kernel]| kernels.iter().map(operand).sum();
    let (forward, backward) = (cast(&block.forward), cast(&block.input));
    // A cast a product, or one an expert.
    let n = block.forward.iter().filter(|k| matches!(k, Kernel::Matmul { .. })).map(Kernel::launches).sum();
    block.memory(forward, backward, n);
}

/// What tensor ranks say to each other around a block that ends with `n` elements.
pub(super) fn between(block: &mut Block, layout: &Layout, n: f64) {
    if layout.tensor > 1 {
        let bytes = 2.0 * n;
        block.collectives.push(if layout.sequence_parallel {
            Collective::GatherScatter(Group::Tensor, bytes)
        } else {
            Collective::AllReduce(Group::Tensor, bytes)
        });
    }
}
