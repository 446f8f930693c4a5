//! A linear layer whose three products run on E4M3 codes.

use tch::{Kind, Tensor};

use super::counters::{Which, count};
use super::product::product;
use super::quantise::{Quantised, ScaleRule, Scaling, quantise};
use crate::{Differentiable, Forward, NodeError, TorchError, apply};

/// x Wᵀ, in the format of `x`: `[m, k]` by a weight `[n, k]` gives `[m, n]`. Forward keeps codes only. The weight's
/// gradient is FP32 where the weight is.
///
/// Forward multiplies tiles of x by blocks of W, the gradient of x is tiles of dy by the same blocks, and that of W sums
/// over rows: dy, and x from its kept codes, are quantised again in tiles along them (§3.3.2, 1 × 128 to 128 × 1).
///
/// # Errors
/// When LibTorch refuses.
pub fn linear(x: &Tensor, weight: &Tensor, rule: ScaleRule) -> Result<Tensor, TorchError> {
    let outputs = apply(Linear { rule, kind: x.kind() }, &[x, weight])?;
    Ok(outputs.into_iter().next().expect("the node has one output"))
}

struct Linear {
    rule: ScaleRule,
    kind: Kind,
}

impl Differentiable for Linear {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [x, weight] = inputs else { return Err("a linear layer has an input and a weight".into()) };
        let x = quantise(x, Scaling::Tiles, self.rule);
        let weight = quantise(weight, Scaling::Blocks, self.rule);
        count(Which::Forward);
        let y = product(&x, &weight).to_kind(self.kind);
        Ok(Forward { outputs: vec![y], saved: vec![x.codes, x.scales, weight.codes, weight.scales] })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([x_codes, x_scales, w_codes, w_scales], [Some(dy)]) = (saved, gradients) else {
            return Ok(vec![None, None]);
        };
        let held = |codes: &Tensor, scales: &Tensor, scaling| Quantised {
            codes: codes.shallow_clone(),
            scales: scales.shallow_clone(),
            scaling,
        };
        let x = held(x_codes, x_scales, Scaling::Tiles);
        let weight = held(w_codes, w_scales, Scaling::Blocks);
        count(Which::InputGradient);
        let dx = product(&quantise(dy, Scaling::Tiles, self.rule), &weight.transposed()).to_kind(self.kind);
        count(Which::WeightGradient);
        let along_rows = |x: &Tensor| quantise(&x.tr(), Scaling::Tiles, self.rule);
        let dw = product(&along_rows(dy), &along_rows(&x.dequantise()));
        Ok(vec![Some(dx), Some(dw)])
    }
}

impl Quantised {
    /// Of blocks, whose scales turn with them.
    fn transposed(&self) -> Self {
        debug_assert_eq!(self.scaling, Scaling::Blocks, "tiles do not turn");
        Self { codes: self.codes.tr(), scales: self.scales.tr(), scaling: self.scaling }
    }
}
