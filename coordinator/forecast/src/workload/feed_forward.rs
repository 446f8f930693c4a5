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
    let m = m / layout.between();
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
    if experts.biased {
        clamp(&mut block, rows * inner);
    }
    block.memory(6.0 * rows * inner, 10.0 * rows * inner, 1.0);
    block.grouped(rows, inner, d, held, layout.format, Role::Grouped);
    if experts.biased {
        bias(&mut block, rows * d, held);
    }
    quantise(&mut block, layout);
    let [dispatched, combined] = layout.wire.rows(network.hidden);
    block.collectives.extend([Collective::Dispatch(dispatched), Collective::Combine(combined)]);
    // The SwiGLU of experts, whose inputs are kept (arXiv 2412.19437, §3.2.3).
    block.cheap.push(Kernel::Memory { bytes: 6.0 * rows * inner, n: 1.0 });
    block
}

/// Both halves of `n` rows times width are clamped and copied side by side before the activation: three kernels that
/// read and write all of it in 16 bits; backward reads the input again and copies the gradients together (Megatron Core
/// 2025-11, `fused_bias_geglu.py`, `weighted_bias_quick_geglu_impl`).
fn clamp(block: &mut Block, n: f64) {
    block.memory(16.0 * n, 20.0 * n, 3.0);
}

/// Each expert's bias times each row's weight is added to `n` elements of results in FP32, the experts' parts are copied
/// together and cast back: 28 bytes an element. Backward casts, and sums over rows for the bias and over columns for the
/// weight: 40 (Megatron Core 2025-11, `experts.py`, `TEGroupedMLP._apply_bias`).
fn bias(block: &mut Block, n: f64, held: f64) {
    block.forward.push(Kernel::Memory { bytes: 28.0 * n, n: 2.0 * held + 2.0 });
    block.input.push(Kernel::Memory { bytes: 40.0 * n, n: 6.0 * held + 2.0 });
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
