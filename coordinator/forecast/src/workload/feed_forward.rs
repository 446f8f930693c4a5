//! The kernels of feed-forward networks, dense ones and experts.

use super::attention::{around, between, quantise};
use super::{Block, Collective, Experts, Kernel, Kernels, Layout, Network, Role};
use crate::hardware::Format;

/// Norm, the two or three matrices and the residual of a dense layer.
pub fn dense(network: &Network, layout: &Layout) -> Block {
    let mut block = Block::new("feed_forward");
    let (m, t) = (layout.tokens(), f64::from(layout.tensor));
    let (d, inner) = (f64::from(network.hidden), f64::from(network.feed_forward.inner) / t);
    around(&mut block, layout, m * d, network.experts.is_none() && !network.feed_forward.gated);
    if network.feed_forward.gated {
        block.linear(m, d, 2.0 * inner, layout.format);
        // SwiGLU reads two and writes one; backward reads three and writes two.
        block.memory(6.0 * m * inner, 10.0 * m * inner, 1.0);
    } else {
        block.linear(m, d, inner, layout.format);
        let bias = if layout.kernels == Kernels::Separate { 4.0 } else { 0.0 };
        block.memory((4.0 + bias) * m * inner, (6.0 + bias / 2.0) * m * inner, 1.0);
    }
    block.linear(m, inner, d, layout.format);
    quantise(&mut block, layout);
    between(&mut block, layout, m * d);
    block
}

/// Gate, permutation, dispatch, routed experts and combine of a sparse layer, at even load.
pub fn experts(network: &Network, layout: &Layout, experts: &Experts) -> Block {
    let mut block = Block::new("experts");
    let (m, d) = (layout.tokens(), f64::from(network.hidden));
    let [n, top_k, inner] = [experts.n, experts.top_k, experts.inner].map(f64::from);
    let t = f64::from(layout.tensor);
    let m = m / if layout.sequence_parallel { t } else { 1.0 };
    let rows = m * top_k;
    // Gate: logits in FP32, sigmoid or softmax, choice.
    block.forward.push(Kernel::Matmul {
        rows: m,
        columns: n,
        depth: d,
        batches: 1.0,
        format: Format::F16,
        role: Role::Plain,
    });
    block.memory(20.0 * m * n, 12.0 * m * n, 6.0);
    // Rows are sorted by expert after they arrive and put back before they leave, weighted and summed.
    block.memory(8.0 * rows * d, 8.0 * rows * d, 4.0);
    let held = (n / f64::from(layout.expert)).max(1.0);
    block.grouped(rows, d, 2.0 * inner, held, layout.format, Role::Grouped);
    block.memory(6.0 * rows * inner, 10.0 * rows * inner, 1.0);
    block.grouped(rows, inner, d, held, layout.format, Role::Grouped);
    quantise(&mut block, layout);
    let dispatched = if layout.format == Format::Fp8 { scaled_row(d) } else { 2.0 * d };
    block.collectives.extend([Collective::Dispatch(dispatched), Collective::Combine(2.0 * d)]);
    // The SwiGLU of experts, whose inputs are kept (arXiv 2412.19437, §3.2.3).
    block.cheap.push(Kernel::Memory { bytes: 6.0 * rows * inner, n: 1.0 });
    block
}

/// Norm, shared experts and residual of a sparse layer; they run while tokens travel.
pub fn shared_experts(network: &Network, layout: &Layout, experts: &Experts) -> Block {
    let mut block = Block::new("shared_experts");
    let (m, d) = (layout.tokens(), f64::from(network.hidden));
    let inner = f64::from(experts.shared_inner) / f64::from(layout.tensor);
    around(&mut block, layout, m * d, false);
    if inner > 0.0 {
        block.linear(m, d, 2.0 * inner, layout.format);
        block.memory(6.0 * m * inner, 10.0 * m * inner, 1.0);
        block.linear(m, inner, d, layout.format);
        quantise(&mut block, layout);
        block.cheap.push(Kernel::Memory { bytes: 6.0 * m * inner, n: 1.0 });
    }
    block
}

/// Bytes of a row of `d` elements in FP8 with an FP32 scale for every 128 (arXiv 2412.19437, §3.3).
pub(crate) fn scaled_row(d: f64) -> f64 {
    d + 4.0 * (d / 128.0).ceil()
}
