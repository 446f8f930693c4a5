//! A linear layer whose three products run on E4M3 codes.

use tch::{Kind, Tensor};

use super::audit;
use super::product::{product, product_in};
use super::quantise::{Quantised, ScaleRule, Scaling, quantise, quantise_gradient};
use crate::counters::{OF_CODES, ProductCounts, Which};
use crate::put_off::{PutOff, weight_gradient};
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
    let outputs = apply(Linear { rule, kind: x.kind(), put_off: PutOff::current() }, &[x, weight])?;
    Ok(outputs.into_iter().next().expect("the node has one output"))
}

/// Products of E4M3 codes since the process started.
pub fn product_counts() -> ProductCounts {
    OF_CODES.counts()
}

struct Linear {
    rule: ScaleRule,
    kind: Kind,
    put_off: Option<PutOff>,
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
        OF_CODES.add(Which::Forward, 1);
        let y = product_in(&codes[0], &codes[1], self.kind_of_products());
        let mut saved = vec![weight.shallow_clone()];
        let is_audited = audit::is_on();
        if is_audited {
            audit::note(Which::Forward, weight, &y, codes.each_ref(), [x, weight]);
        }
        saved.extend(codes.into_iter().flat_map(|q| [q.codes, q.scales]));
        saved.extend(is_audited.then(|| x.shallow_clone()));
        Ok(Forward { outputs: vec![y.to_kind(self.kind)], saved })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([weight, x_codes, x_scales, w_codes, w_scales, audited @ ..], [Some(dy)]) = (saved, gradients) else {
            return Ok(vec![None, None]);
        };
        let held =
            |codes: &Tensor, scales: &Tensor, by| Quantised::new(codes.shallow_clone(), scales.shallow_clone(), by);
        let operands =
            [quantise_gradient(dy, Scaling::Tiles, self.rule), held(w_codes, w_scales, Scaling::Blocks).transposed()];
        OF_CODES.add(Which::InputGradient, 1);
        let dx = product_in(&operands[0], &operands[1], self.kind_of_products());
        let audited = audited.first().map(|x| [x, weight].map(Tensor::shallow_clone));
        if let Some([_, weight]) = &audited {
            audit::note(Which::InputGradient, weight, &dx, operands.each_ref(), [dy, &weight.tr()]);
        }
        let of_weight =
            OfWeight { x: held(x_codes, x_scales, Scaling::Tiles), dy: dy.shallow_clone(), rule: self.rule, audited };
        let dw = weight_gradient(self.put_off.as_ref(), weight, move |sum| of_weight.add_to(sum))?;
        Ok(vec![Some(dx.to_kind(self.kind)), dw])
    }
}

/// The operands of a weight's gradient, as backward finds them.
struct OfWeight {
    x: Quantised,
    dy: Tensor,
    rule: ScaleRule,
    /// Input and weight, where products are audited.
    audited: Option<[Tensor; 2]>,
}

impl OfWeight {
    fn add_to(self, sum: &Tensor) -> Result<(), TorchError> {
        let x = self.x.dequantise();
        let operands = [
            quantise_gradient(&self.dy, Scaling::Upright, self.rule).transposed(),
            quantise(&x, Scaling::Upright, self.rule).transposed(),
        ];
        OF_CODES.add(Which::WeightGradient, 1);
        let dw = product(&operands[0], &operands[1]);
        if let Some([x, weight]) = &self.audited {
            audit::note(Which::WeightGradient, weight, &dw, operands.each_ref(), [&self.dy.tr(), &x.tr()]);
        }
        let _ = sum.shallow_clone().f_add_(&dw)?;
        Ok(())
    }
}
