//! What stands between the products of a SwiGLU network, as an autograd node that keeps its operands alone.

use tch::Tensor;

use crate::{Differentiable, Forward, NodeError, TorchError, apply};

/// silu(gate) ⊙ up (arXiv 2002.05202). Backward computes silu(gate) again.
///
/// # Errors
/// When LibTorch refuses.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor, TorchError> {
    let outputs = apply(SwiGlu, &[gate, up])?;
    Ok(outputs.into_iter().next().expect("the node has one output"))
}

struct SwiGlu;

impl Differentiable for SwiGlu {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [gate, up] = inputs else { return Err("SwiGLU has a gate and a factor".into()) };
        Ok(Forward { outputs: vec![gate.f_silu()?.f_mul(up)?], saved: vec![gate.shallow_clone(), up.shallow_clone()] })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([gate, up], [Some(dy)]) = (saved, gradients) else { return Ok(vec![None, None]) };
        Ok(vec![Some(gate.f_silu_backward(&dy.f_mul(up)?)?), Some(dy.f_mul(&gate.f_silu()?)?)])
    }
}
