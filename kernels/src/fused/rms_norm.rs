//! RMSNorm in one pass each way.
#![expect(unsafe_code, reason = "calls the C++ shim; the tensors are dense, which it relies on")]

use std::ptr::null_mut;

use tch::Tensor;

use super::{is_known, made};
use crate::ffi::{checked, ds_rms_norm, ds_rms_norm_back, handle};
use crate::{Differentiable, Forward, NodeError, TorchError, apply, cuda};

/// x / √(mean x² + ε) · w over the last dimension (arXiv 1910.07467), summed in FP32 at least and rounded once.
///
/// # Errors
/// When LibTorch refuses.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, TorchError> {
    let on_card = cuda::takes(x) && weight.numel() as i64 <= cuda::ROW_MAX;
    if !(is_known(x) || on_card) || weight.kind() != x.kind() {
        return Ok(x.f_rms_norm(weight.size(), Some(weight), eps)?);
    }
    let outputs = apply(RmsNorm { eps }, &[x, weight])?;
    Ok(outputs.into_iter().next().expect("the node has one output"))
}

struct RmsNorm {
    eps: f64,
}

impl Differentiable for RmsNorm {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        let [x, weight] = inputs else { return Err("a norm has an input and a weight".into()) };
        let (x, weight) = (x.contiguous(), weight.contiguous());
        if x.device().is_cuda() {
            let (y, scale) = cuda::rms_norm(&x, &weight, self.eps)?;
            return Ok(Forward { outputs: vec![y], saved: vec![x, weight, scale] });
        }
        let (mut y, mut scale) = (null_mut(), null_mut());
        // SAFETY: both tensors live and are dense; the shim makes both results.
        checked("RMSNorm", |error| unsafe {
            ds_rms_norm(handle(&x), handle(&weight), self.eps, &mut y, &mut scale, error)
        })?;
        let [y, scale] = made([y, scale])?;
        Ok(Forward { outputs: vec![y], saved: vec![x, weight, scale] })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        let ([x, weight, scale], [Some(dy)]) = (saved, gradients) else { return Ok(vec![None, None]) };
        let dy = dy.contiguous();
        if x.device().is_cuda() {
            let (dx, dw) = cuda::rms_norm_backward(&dy, x, weight, scale)?;
            return Ok(vec![Some(dx), Some(dw.to_kind(weight.kind()))]);
        }
        let (mut dx, mut dw) = (null_mut(), null_mut());
        // SAFETY: all tensors live and are dense; the shim makes both results.
        checked("RMSNorm backward", |error| unsafe {
            ds_rms_norm_back(handle(&dy), handle(x), handle(weight), handle(scale), &mut dx, &mut dw, error)
        })?;
        let [dx, dw] = made([dx, dw])?;
        Ok(vec![Some(dx), Some(dw.to_kind(weight.kind()))])
    }
}
