//! SwiGLU feed-forward networks (arXiv 2002.05202).

use tch::Tensor;

/// W_down (silu(W_gate x) ⊙ W_up x); `gate_up` is `[2·inner, d]`, gate first, `down` is `[d, inner]`.
pub(crate) fn feed_forward(x: &Tensor, gate_up: &Tensor, down: &Tensor) -> Tensor {
    let both = x.matmul(&gate_up.tr()).chunk(2, -1);
    (both[0].silu() * &both[1]).matmul(&down.tr())
}

/// Likewise with gate and up projection stacked, `[2, inner, d]`.
pub(crate) fn stacked_feed_forward(x: &Tensor, gate_up: &Tensor, down: &Tensor) -> Tensor {
    feed_forward(x, &gate_up.flatten(0, 1), down)
}
