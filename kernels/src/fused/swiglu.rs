//! What stands between the products of a SwiGLU network (arXiv 2002.05202), as an autograd node that keeps its operand
//! alone.

use tch::Tensor;

use crate::{Differentiable, Forward, NodeError, TorchError, apply, cuda};

/// silu(gate) ⊙ up, `[…, n]`, of `both`, `[…, 2n]`, whose rows are gate and up next to each other. Backward computes
/// silu(gate) again. One pass each way on a card with kernels, LibTorch's own passes elsewhere.
///
/// # Errors
/// When LibTorch or CUDA refuses.
pub fn swiglu(both: &Tensor) -> Result<Tensor, TorchError> {
    let outputs = apply(Swiglu, &[both])?;
    Ok(outputs.into_iter().next().expect("the node has one output"))
}

struct Swiglu;

impl Differentiable for Swiglu {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [both] = inputs else { return Err("SwiGLU has one input".into()) };
        let product = if cuda::takes(both) {
            cuda::swiglu(both)?
        } else {
            let halves = both.f_chunk(2, -1)?;
            halves[0].f_silu()?.f_mul(&halves[1])?
        };
        Ok(Forward { outputs: vec![product], saved: vec![both.shallow_clone()] })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([both], [Some(dy)]) = (saved, gradients) else { return Ok(vec![None]) };
        if cuda::takes(both) {
            return Ok(vec![Some(cuda::swiglu_backward(both, dy)?.0)]);
        }
        let halves = both.f_chunk(2, -1)?;
        let (gate, up) = (&halves[0], &halves[1]);
        let (dgate, dup) = (gate.f_silu_backward(&dy.f_mul(up)?)?, dy.f_mul(&gate.f_silu()?)?);
        Ok(vec![Some(Tensor::f_cat(&[dgate, dup], -1)?)])
    }
}
