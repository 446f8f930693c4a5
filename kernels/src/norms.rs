//! The 2-norms of many tensors.
#![expect(unsafe_code, reason = "calls the C++ shim; lengths come from the slices")]

use std::ptr::null_mut;

use tch::Tensor;

use crate::TorchError;
use crate::ffi::{Handle, checked, ds_norms, handle, take};

/// The 2-norm of every tensor, accumulated in f64. On a GPU this waits for the result.
///
/// # Errors
/// When LibTorch refuses.
pub fn norms(tensors: &[Tensor]) -> Result<Vec<f64>, TorchError> {
    if tensors.is_empty() {
        return Ok(Vec::new());
    }
    let handles: Vec<Handle> = tensors.iter().map(handle).collect();
    let mut result = null_mut();
    // SAFETY: the pointers are those of live tensors, and the length that of the vector.
    checked("norms", |error| unsafe { ds_norms(handles.len(), handles.as_ptr(), &mut result, error) })?;
    // SAFETY: the shim made the handle for us.
    let norms = unsafe { take(result) }.expect("the shim gives a tensor when it reports no error");
    Ok(Vec::<f64>::try_from(norms)?)
}
