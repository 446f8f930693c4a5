//! SwiGLU feed-forward networks (arXiv 2002.05202).

use ds_kernels::fp8::ALONG;
use tch::Tensor;

use crate::{ModelError, Products};

/// W_down (silu(W_gate x) ⊙ W_up x); `gate_up` is `[2·inner, d]`, gate first, `down` is `[d, inner]`.
pub(crate) fn feed_forward(
    x: &Tensor,
    gate_up: &Tensor,
    down: &Tensor,
    products: Products,
) -> Result<Tensor, ModelError> {
    let both = both_halves(x, gate_up, products)?;
    products.linear(&(both[0].silu() * &both[1]), down)
}

/// Gate and up projection in one product, unless they would share blocks of codes.
fn both_halves(x: &Tensor, gate_up: &Tensor, products: Products) -> Result<Vec<Tensor>, ModelError> {
    let inner = gate_up.size()[0] / 2;
    match products {
        Products::Fp8(_) if inner % ALONG != 0 => {
            gate_up.chunk(2, 0).iter().map(|half| products.linear(x, half)).collect()
        }
        Products::Fp8(_) | Products::Plain => Ok(products.linear(x, gate_up)?.chunk(2, -1)),
    }
}

/// Likewise with gate and up projection stacked, `[2, inner, d]`.
pub(crate) fn stacked_feed_forward(
    x: &Tensor,
    gate_up: &Tensor,
    down: &Tensor,
    products: Products,
) -> Result<Tensor, ModelError> {
    feed_forward(x, &gate_up.flatten(0, 1), down, products)
}
