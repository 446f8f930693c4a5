//! AdamW over many parameters at once.
#![expect(unsafe_code, reason = "calls the C++ shim; lengths come from the slices")]

use tch::{Tensor, no_grad};

use crate::TorchError;
use crate::ffi::{Handle, checked, ds_fused_adamw, handle};

/// The numbers of one update (arXiv 1711.05101, algorithm 2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// η.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled: the parameter shrinks by learning_rate · weight_decay.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// One AdamW update in place, in LibTorch's fused kernel. Parameter, gradient and moments of one index have one shape
/// and one dtype; `steps` are f32 scalars, the updates done so far, and grow by one.
///
/// # Errors
/// When LibTorch refuses.
///
/// # Panics
/// When the slices differ in length.
pub fn fused_adamw(
    parameters: &[Tensor],
    gradients: &[Tensor],
    moments1: &[Tensor],
    moments2: &[Tensor],
    steps: &[Tensor],
    adamw: AdamW,
) -> Result<(), TorchError> {
    let n = parameters.len();
    let lengths = [gradients.len(), moments1.len(), moments2.len(), steps.len()];
    assert!(lengths.iter().all(|&length| length == n), "{n} parameters, but {lengths:?} gradients, moments and steps");
    if n == 0 {
        return Ok(());
    }
    no_grad(|| steps.iter().for_each(|step| drop(step.shallow_clone().g_add_scalar_(1.0))));
    let handles = |tensors: &[Tensor]| -> Vec<Handle> { tensors.iter().map(handle).collect() };
    let (p, g, m, v, s) =
        (handles(parameters), handles(gradients), handles(moments1), handles(moments2), handles(steps));
    let AdamW { learning_rate, beta1, beta2, weight_decay, eps } = adamw;
    // SAFETY: the pointers are those of live tensors, and the length is that of every vector.
    checked("fused AdamW", |error| unsafe {
        ds_fused_adamw(
            n,
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            v.as_ptr(),
            s.as_ptr(),
            learning_rate,
            beta1,
            beta2,
            weight_decay,
            eps,
            error,
        )
    })
}
