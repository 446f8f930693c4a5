//! A linear layer in the format of activations, as an autograd node: its weight's gradient can be put off.

use tch::{Kind, Tensor};

use super::widens;
use crate::counters::{PLAIN, ProductCounts, Which};
use crate::put_off::{PutOff, weight_gradient};
use crate::{Differentiable, Forward, NodeError, TorchError, apply};

/// x Wᵀ: `[m, k]` by a weight `[n, k]` gives `[m, n]`. Where BF16 is better multiplied in FP32 ([`widens`]), it is.
///
/// # Errors
/// When LibTorch refuses.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor, TorchError> {
    let outputs = apply(Linear { put_off: PutOff::current() }, &[x, weight])?;
    Ok(outputs.into_iter().next().expect("the node has one output"))
}

/// Products of [`linear`], [`super::feed_forward`] and [`super::experts`] since the process started; those of an expert
/// that got rows count as two, as there are two weights.
pub fn product_counts() -> ProductCounts {
    PLAIN.counts()
}

/// Keeps its operands as they are.
struct Linear {
    put_off: Option<PutOff>,
}

impl Differentiable for Linear {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [x, weight] = inputs else { return Err("a linear layer has an input and a weight".into()) };
        PLAIN.add(Which::Forward, 1);
        let y = product(x, &weight.tr())?;
        Ok(Forward { outputs: vec![y], saved: vec![x.shallow_clone(), weight.shallow_clone()] })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([x, weight], [Some(dy)]) = (saved, gradients) else { return Ok(vec![None, None]) };
        PLAIN.add(Which::InputGradient, 1);
        let dx = product(dy, weight)?;
        let (x, dy) = (x.shallow_clone(), dy.shallow_clone());
        let dw = weight_gradient(self.put_off.as_ref(), weight, move |sum| add_product(sum, &dy, &x))?;
        Ok(vec![Some(dx), dw])
    }
}

/// a b, rounded once where it is widened.
fn product(a: &Tensor, b: &Tensor) -> Result<Tensor, TorchError> {
    if widens(a) {
        return Ok(a.f_to_kind(Kind::Float)?.f_matmul(&b.f_to_kind(Kind::Float)?)?.f_to_kind(a.kind())?);
    }
    Ok(a.f_matmul(b)?)
}

/// sum += aᵀ b, of rows `[m, n]` and `[m, k]`; the sum is `[n, k]`, FP32 or wider.
pub(super) fn add_product(sum: &Tensor, a: &Tensor, b: &Tensor) -> Result<(), TorchError> {
    PLAIN.add(Which::WeightGradient, 1);
    let mut sum = sum.shallow_clone();
    if widens(a) || a.kind() == sum.kind() {
        let _ = sum.f_addmm_(&a.f_to_kind(sum.kind())?.tr(), &b.f_to_kind(sum.kind())?)?;
    } else {
        let _ = sum.f_add_(&a.tr().f_matmul(b)?)?;
    }
    Ok(())
}
