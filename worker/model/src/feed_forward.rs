//! SwiGLU feed-forward networks (arXiv 2002.05202).

use ds_kernels::fp8::ALONG;
use ds_kernels::fused;
use tch::Tensor;

use crate::precision::rows;
use crate::{ModelError, Products};

/// W_down (silu(W_gate x) ⊙ W_up x); `gate_up` is `[2, inner, d]`, gate first, `down` is `[d, inner]`.
pub(crate) fn feed_forward(
    x: &Tensor,
    gate_up: &Tensor,
    down: &Tensor,
    products: Products,
) -> Result<Tensor, ModelError> {
    match products {
        Products::Plain => {
            let (rows, shape) = rows(x, down);
            Ok(fused::feed_forward(&rows, gate_up, down)?.view(shape.as_slice()))
        }
        Products::Fp8(_) => products.linear(&activation(x, gate_up, products)?, down),
    }
}

/// silu(W_gate x) ⊙ W_up x. Both projections are one product, unless they would share blocks of codes.
fn activation(x: &Tensor, gate_up: &Tensor, products: Products) -> Result<Tensor, ModelError> {
    if gate_up.size()[1] % ALONG == 0 {
        return Ok(fused::swiglu(&products.linear(x, &gate_up.flatten(0, 1))?)?);
    }
    let halves = [products.linear(x, &gate_up.get(0))?, products.linear(x, &gate_up.get(1))?];
    Ok(fused::swiglu(&Tensor::cat(&halves, -1))?)
}
