//! One SwiGLU network over all rows, as an autograd node.

use tch::{Kind, Tensor};

use super::{Experts, experts, experts_backward, is_known, swiglu, wide};
use crate::{Differentiable, Forward, NodeError, TorchError, apply};

/// W_down (silu(W_gate x) ⊙ W_up x) (arXiv 2002.05202): `x` is `[r, d]`, `gate_up` `[2, n, d]`, `down` `[d, n]`.
///
/// # Errors
/// When LibTorch refuses.
pub fn feed_forward(x: &Tensor, gate_up: &Tensor, down: &Tensor) -> Result<Tensor, TorchError> {
    if !is_known(x) || down.kind() != x.kind() {
        let both = x.f_matmul(&gate_up.flatten(0, 1).tr())?;
        return Ok(swiglu(&both)?.f_matmul(&down.tr())?);
    }
    let outputs = apply(FeedForward, &[x, gate_up, down])?;
    Ok(outputs.into_iter().next().expect("the node has one output"))
}

struct FeedForward;

impl Differentiable for FeedForward {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [x, gate_up, down] = inputs else { return Err("a network has an input and two weights".into()) };
        let (x, down) = (x.contiguous(), down.unsqueeze(0));
        let (y, both) = experts(&x, &Experts::new(gate_up, &down, &[x.size()[0]])?)?;
        Ok(Forward { outputs: vec![y], saved: vec![x, both, gate_up.shallow_clone(), down] })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([x, both, gate_up, down], [Some(dy)]) = (saved, gradients) else { return Ok(vec![None, None, None]) };
        let weights = Experts::new(gate_up, down, &[x.size()[0]])?;
        let zeros = |weight: &Tensor| Tensor::zeros(weight.size(), (wide(weight.kind()), weight.device()));
        let sums = [zeros(gate_up), zeros(down)];
        let dx = experts_backward(dy, x, both, &weights, [&sums[0], &sums[1]])?;
        let narrow = |sum: &Tensor, kind: Kind| Some(sum.to_kind(kind));
        Ok(vec![Some(dx), narrow(&sums[0], gate_up.kind()), narrow(&sums[1].squeeze_dim(0), down.kind())])
    }
}
