//! Bytes behind tensors: given back while graphs still refer to the tensor, put there again later, and counted.
#![expect(unsafe_code, reason = "calls the C++ shim with the handles of live tensors")]

use tch::Tensor;

use crate::TorchError;
use crate::ffi::{
    checked, ds_count_bytes, ds_live_bytes, ds_peak_bytes, ds_refill, ds_release, ds_restart_peak, ds_reuse_blocks,
    handle,
};

/// Frees the bytes behind `tensor`, and so behind all views and detached copies of it. Shapes and graphs stay. Nobody may
/// read any of them, backward included, until [`refill`] has put the bytes there again.
///
/// # Errors
/// When LibTorch refuses.
pub fn release(tensor: &Tensor) -> Result<(), TorchError> {
    // SAFETY: the handle is that of a live tensor.
    checked("release", |error| unsafe { ds_release(handle(tensor), error) })
}

/// Lets a tensor that [`release`] emptied share the bytes of `fresh`, which must lie in memory as it did; no version
/// counter moves. One that has its bytes (by way of a tensor that it shares them with) stays as it is.
///
/// # Errors
/// When the tensors differ in shape, strides, offset, format or device.
pub fn refill(tensor: &Tensor, fresh: &Tensor) -> Result<(), TorchError> {
    // SAFETY: the handles are those of live tensors.
    checked("refill", |error| unsafe { ds_refill(handle(tensor), handle(fresh), error) })
}

/// Tensors of the CPU that are made from now on reuse the memory of freed ones of their size, which with LibTorch's own
/// allocator over glibc's they do not: memory falls into pieces, a fifth of it in long sequences. For good.
pub fn reuse_blocks() {
    // SAFETY: it takes nothing; the allocator lives for ever.
    unsafe { ds_reuse_blocks() }
}

/// Counts the bytes of all tensors of the CPU that are made from now on. For tests and studies of memory: it stays for
/// good, and every allocation pays for it.
pub fn count_bytes() {
    // SAFETY: it takes nothing; the shim does it once.
    unsafe { ds_count_bytes() }
}

/// Bytes of the counted tensors that live.
pub fn live_bytes() -> u64 {
    // SAFETY: it takes nothing.
    unsafe { ds_live_bytes() }
}

/// The most that lived at a time since [`restart_peak`], or since counting began.
pub fn peak_bytes() -> u64 {
    // SAFETY: it takes nothing.
    unsafe { ds_peak_bytes() }
}

/// The peak starts from what lives now.
pub fn restart_peak() {
    // SAFETY: it takes nothing.
    unsafe { ds_restart_peak() }
}
