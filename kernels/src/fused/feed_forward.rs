//! One SwiGLU network over all rows, as an autograd node.

use tch::Tensor;

use super::linear::add_product;
use super::{Experts, ExpertsBack, experts, experts_backward_inputs, is_known, linear, swiglu};
use crate::put_off::{PutOff, weight_gradient};
use crate::{Differentiable, Forward, NodeError, TorchError, apply};

/// W_down (silu(W_gate x) ⊙ W_up x) (arXiv 2002.05202): `x` is `[r, d]`, `gate_up` `[2, n, d]`, `down` `[d, n]`.
///
/// # Errors
/// When LibTorch refuses.
pub fn feed_forward(x: &Tensor, gate_up: &Tensor, down: &Tensor) -> Result<Tensor, TorchError> {
    if !is_known(x) || down.kind() != x.kind() {
        return linear(&swiglu(&linear(x, &gate_up.flatten(0, 1))?)?, down);
    }
    let outputs = apply(FeedForward { put_off: PutOff::current() }, &[x, gate_up, down])?;
    Ok(outputs.into_iter().next().expect("the node has one output"))
}

struct FeedForward {
    put_off: Option<PutOff>,
}

impl Differentiable for FeedForward {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [x, gate_up, down] = inputs else { return Err("a network has an input and two weights".into()) };
        let x = x.contiguous();
        let (y, both) = experts(&x, &Experts::new(gate_up, &down.unsqueeze(0), &[x.size()[0]])?)?;
        Ok(Forward { outputs: vec![y], saved: vec![x, both, gate_up.shallow_clone(), down.shallow_clone()] })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([x, both, gate_up, down], [Some(dy)]) = (saved, gradients) else { return Ok(vec![None, None, None]) };
        let weights = Experts::new(gate_up, &down.unsqueeze(0), &[x.size()[0]])?;
        let ExpertsBack { dx, dboth, act } = experts_backward_inputs(dy, both, &weights)?;
        let (x, dy) = (x.shallow_clone(), dy.shallow_clone());
        let of_gate_up =
            weight_gradient(self.put_off.as_ref(), gate_up, move |sum| add_product(&sum.flatten(0, 1), &dboth, &x))?;
        let of_down = weight_gradient(self.put_off.as_ref(), down, move |sum| add_product(sum, &dy, &act))?;
        Ok(vec![Some(dx), of_gate_up, of_down])
    }
}
