//! Operations of which LibTorch would make several passes, fused for the CPU and, by [`crate::cuda`], for cards that are
//! prepared. Each stands beside what it must equal: what LibTorch computes step by step, which runs everywhere else.

mod combine;
mod experts;
mod feed_forward;
mod grouped;
mod linear;
mod permute;
mod rms_norm;
mod swiglu;
mod widen;

use tch::{Device, Kind, Tensor};

use crate::TorchError;
use crate::ffi::{Handle, take};

pub use combine::combine;
pub use experts::{Experts, ExpertsBack, experts, experts_backward, experts_backward_inputs, experts_backward_weights};
pub use feed_forward::feed_forward;
pub use grouped::{grouped_experts, groups};
pub use linear::{linear, product_counts};
pub use permute::Permutation;
pub use rms_norm::rms_norm;
pub use swiglu::swiglu;
pub use widen::{multiplies_bf16, widens};

/// Whether the fused operations know this tensor's device and format.
fn is_known(x: &Tensor) -> bool {
    x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::Double | Kind::BFloat16)
}

/// Of gates and of sums: FP32 at least.
pub(crate) fn wide(kind: Kind) -> Kind {
    if kind == Kind::Double { Kind::Double } else { Kind::Float }
}

/// Handles that the shim made when it reported no error.
pub(crate) fn made<const N: usize>(handles: [Handle; N]) -> Result<[Tensor; N], TorchError> {
    #[expect(unsafe_code, reason = "the shim made each handle for its caller")]
    // SAFETY: callers pass what a shim function has just written.
    let tensors = handles.map(|handle| unsafe { take(handle) });
    if tensors.iter().any(Option::is_none) {
        return Err(TorchError::Refused { op: "fused operation", reason: "a result is undefined".into() });
    }
    Ok(tensors.map(|tensor| tensor.expect("all are defined")))
}
