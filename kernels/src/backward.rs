//! Backward with given gradients, for chosen inputs.
#![expect(unsafe_code, reason = "calls the C++ shim; lengths come from the slices")]

use std::ptr::null_mut;

use tch::Tensor;

use crate::TorchError;
use crate::ffi::{Handle, checked, ds_backward, handle, take};

/// Gradients of `inputs`, given the gradients of `outputs`: vector-Jacobian products.
///
/// A gradient has the shape of its output; none stands for 1 and is for outputs of one element. An input that no output
/// depends on gets none. Nothing is added to any `.grad`. The graph is freed unless `keep_graph` is set.
///
/// # Errors
/// When LibTorch refuses: an output that needs no gradient, a wrong shape, a graph that was freed, or an error in a Rust
/// node.
///
/// # Panics
/// When `gradients` is not as long as `outputs`.
pub fn backward(
    outputs: &[&Tensor],
    gradients: &[Option<&Tensor>],
    inputs: &[&Tensor],
    keep_graph: bool,
) -> Result<Vec<Option<Tensor>>, TorchError> {
    assert_eq!(outputs.len(), gradients.len(), "every output has a gradient, or none in its place");
    let handles = |tensors: &[&Tensor]| -> Vec<Handle> { tensors.iter().map(|t| handle(t)).collect() };
    let (output_handles, input_handles) = (handles(outputs), handles(inputs));
    let gradient_handles: Vec<Handle> = gradients.iter().map(|g| g.map_or(null_mut(), handle)).collect();
    let mut results: Vec<Handle> = vec![null_mut(); inputs.len()];
    // SAFETY: the pointers are those of live tensors, and the lengths those of the vectors.
    checked("backward", |error| unsafe {
        ds_backward(
            output_handles.as_ptr(),
            gradient_handles.as_ptr(),
            outputs.len(),
            input_handles.as_ptr(),
            inputs.len(),
            keep_graph.into(),
            results.as_mut_ptr(),
            error,
        )
    })?;
    // SAFETY: the shim made each handle for us.
    Ok(results.into_iter().map(|h| unsafe { take(h) }).collect())
}
