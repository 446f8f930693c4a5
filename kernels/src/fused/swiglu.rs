//! What lies between the products of a SwiGLU network (arXiv 2002.05202), alone.

use tch::Tensor;

use crate::{Differentiable, Forward, NodeError, TorchError, apply, cuda};

/// silu(gate) ⊙ up, `[r, n]`, of `both`, `[r, 2n]`, whose rows are gate and up next to each other. One pass each way on a card
/// with kernels, LibTorch's own passes elsewhere.
///
/// # Errors
/// When LibTorch or CUDA refuses.
pub fn swiglu(both: &Tensor) -> Result<Tensor, TorchError> {
    if !cuda::takes(both) {
        let halves = both.f_chunk(2, -1)?;
        return Ok(halves[0].f_silu()?.f_mul(&halves[1])?);
    }
    let outputs = apply(Swiglu, &[both])?;
    Ok(outputs.into_iter().next().expect("the node has one output"))
}

/// Keeps what it was given.
struct Swiglu;

impl Differentiable for Swiglu {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [both] = inputs else { return Err("SwiGLU has one input".into()) };
        Ok(Forward { outputs: vec![cuda::swiglu(both)?], saved: vec![both.shallow_clone()] })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([both], [Some(dact)]) = (saved, gradients) else { return Ok(vec![None]) };
        Ok(vec![Some(cuda::swiglu_backward(both, dact)?.0)])
    }
}
