//! A linear layer whose three products run on E4M3 codes.

use tch::{Kind, Tensor};

use super::audit;
use super::counters::{Which, count};
use super::product::{product, product_in};
use super::quantise::{Quantised, ScaleRule, Scaling, quantise, quantise_gradient};
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

impl Linear {
    /// An audit sees products before they are rounded.
    fn kind_of_products(&self) -> Kind {
        if audit::is_on() { Kind::Float } else { self.kind }
    }
}

impl Differentiable for Linear {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [x, weight] = inputs else { return Err("a linear layer has an input and a weight".into()) };
        let codes = [quantise(x, Scaling::Tiles, self.rule), quantise(weight, Scaling::Blocks, self.rule)];
        count(Which::Forward);
        let y = product_in(&codes[0], &codes[1], self.kind_of_products());
        let mut kept = Vec::new();
        if audit::is_on() {
            audit::note(Which::Forward, weight, &y, codes.each_ref(), [x, weight]);
            kept.extend([x.shallow_clone(), weight.shallow_clone()]);
        }
        let saved = codes.into_iter().flat_map(|q| [q.codes, q.scales]).chain(kept).collect();
        Ok(Forward { outputs: vec![y.to_kind(self.kind)], saved })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([x_codes, x_scales, w_codes, w_scales, kept @ ..], [Some(dy)]) = (saved, gradients) else {
            return Ok(vec![None, None]);
        };
        let held =
            |codes: &Tensor, scales: &Tensor, by| Quantised::new(codes.shallow_clone(), scales.shallow_clone(), by);
        let x = held(x_codes, x_scales, Scaling::Tiles).dequantise();
        let of_input =
            [quantise_gradient(dy, Scaling::Tiles, self.rule), held(w_codes, w_scales, Scaling::Blocks).transposed()];
        let of_weight = [
            quantise_gradient(dy, Scaling::Upright, self.rule).transposed(),
            quantise(&x, Scaling::Upright, self.rule).transposed(),
        ];
        count(Which::InputGradient);
        let dx = product_in(&of_input[0], &of_input[1], self.kind_of_products());
        count(Which::WeightGradient);
        let dw = product(&of_weight[0], &of_weight[1]);
        if let [x, weight] = kept {
            audit::note(Which::InputGradient, weight, &dx, of_input.each_ref(), [dy, &weight.tr()]);
            audit::note(Which::WeightGradient, weight, &dw, of_weight.each_ref(), [&dy.tr(), &x.tr()]);
        }
        Ok(vec![Some(dx.to_kind(self.kind)), Some(dw)])
    }
}
