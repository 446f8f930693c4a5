//! BF16 on processors that do not multiply it: LibTorch's product there is a plain loop, an order of magnitude slower than
//! the same product in FP32. So operands are widened, multiplied in FP32 and rounded once, which is at least as exact.

use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use crate::{Differentiable, Forward, NodeError, TorchError, apply};

/// Whether this processor multiplies BF16 itself.
pub fn multiplies_bf16() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        let found = std::arch::is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        let found = true;
        found
    })
}

/// Whether products of this tensor are better made in FP32.
pub fn widens(x: &Tensor) -> bool {
    x.device() == Device::Cpu && x.kind() == Kind::BFloat16 && !multiplies_bf16()
}

/// x Wᵀ in BF16 by products in FP32: `[m, k]` by a weight `[n, k]` gives `[m, n]`.
///
/// # Errors
/// When LibTorch refuses.
pub fn widened_linear(x: &Tensor, weight: &Tensor) -> Result<Tensor, TorchError> {
    let outputs = apply(Linear, &[x, weight])?;
    Ok(outputs.into_iter().next().expect("the node has one output"))
}

/// Keeps its operands in BF16.
struct Linear;

impl Differentiable for Linear {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [x, weight] = inputs else { return Err("a linear layer has an input and a weight".into()) };
        let y = x.to_kind(Kind::Float).f_matmul(&weight.to_kind(Kind::Float).tr())?;
        Ok(Forward { outputs: vec![y.to_kind(Kind::BFloat16)], saved: vec![x.shallow_clone(), weight.shallow_clone()] })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([x, weight], [Some(dy)]) = (saved, gradients) else { return Ok(vec![None, None]) };
        let dy = dy.to_kind(Kind::Float);
        let dx = dy.f_matmul(&weight.to_kind(Kind::Float))?.to_kind(Kind::BFloat16);
        let dw = dy.tr().f_matmul(&x.to_kind(Kind::Float))?.to_kind(Kind::BFloat16);
        Ok(vec![Some(dx), Some(dw)])
    }
}
