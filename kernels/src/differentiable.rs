//! Autograd nodes written in Rust.
#![expect(unsafe_code, reason = "callbacks of the C++ shim; each takes over handles that were made for it")]

use std::error::Error;
use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use tch::Tensor;

use crate::TorchError;
use crate::ffi::{ERROR_BYTES, Handle, List, Node, checked, ds_apply, ds_push, handle, take};

/// Why a node failed, in its own words.
pub type NodeError = Box<dyn Error + Send + Sync>;

/// More outputs than any node has.
const OUTPUTS_MAX: usize = 64;

/// What a node's forward gives.
#[derive(Debug, Default)]
pub struct Forward {
    /// The node's outputs.
    pub outputs: Vec<Tensor>,
    /// What backward needs. Inputs and outputs may be among them.
    pub saved: Vec<Tensor>,
}

/// A function with its own derivative. Errors and panics of both directions reach the caller of [`apply`] or of
/// [`crate::backward`] as errors.
pub trait Differentiable: Send + Sync + 'static {
    /// Computes outputs; runs without autograd.
    ///
    /// # Errors
    /// Whatever the node says.
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError>;

    /// Gradients of the inputs, as many as there were inputs, given those of the outputs; none where there is none. May
    /// run on a thread of LibTorch.
    ///
    /// # Errors
    /// Whatever the node says.
    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError>;
}

/// Runs `node` forward on `inputs` and makes it a node of the autograd graph. It lives as long as the graph.
///
/// # Errors
/// When the node fails or panics, or LibTorch refuses.
pub fn apply<D: Differentiable>(node: D, inputs: &[&Tensor]) -> Result<Vec<Tensor>, TorchError> {
    let object = Box::into_raw(Box::new(node)).cast::<c_void>();
    let node = Node { object, forward: forward::<D>, backward: backward::<D>, drop: drop_object::<D> };
    let handles: Vec<Handle> = inputs.iter().map(|t| handle(t)).collect();
    let (mut outputs, mut n_outputs) = ([null_mut(); OUTPUTS_MAX], 0);
    // SAFETY: the shim owns `object` from here and drops it once; the lengths are those of the buffers.
    checked("autograd node", |error| unsafe {
        ds_apply(node, handles.as_ptr(), handles.len(), outputs.as_mut_ptr(), OUTPUTS_MAX, &mut n_outputs, error)
    })?;
    // SAFETY: the shim made the first `n_outputs` handles for us.
    Ok(outputs[..n_outputs].iter().filter_map(|&output| unsafe { take(output) }).collect())
}

unsafe extern "C" fn forward<D: Differentiable>(
    object: *mut c_void,
    inputs: *const Handle,
    n: usize,
    outputs: *mut List,
    saved: *mut List,
    error: *mut c_char,
) -> c_int {
    guarded(error, || {
        // SAFETY: `object` is the box that `apply` made for D; the handles were made for this call.
        let (node, inputs) = unsafe { (&*object.cast::<D>(), take_all(inputs, n)) };
        let inputs: Vec<Tensor> =
            inputs.into_iter().map(|t| t.ok_or("an input is undefined")).collect::<Result<_, _>>()?;
        let result = node.forward(&inputs)?;
        result.outputs.iter().for_each(|t| push(outputs, Some(t)));
        result.saved.iter().for_each(|t| push(saved, Some(t)));
        Ok(())
    })
}

unsafe extern "C" fn backward<D: Differentiable>(
    object: *mut c_void,
    saved: *const Handle,
    n_saved: usize,
    gradients: *const Handle,
    n_gradients: usize,
    results: *mut List,
    error: *mut c_char,
) -> c_int {
    guarded(error, || {
        // SAFETY: `object` is the box that `apply` made for D; the handles were made for this call.
        let (node, saved, gradients) =
            unsafe { (&*object.cast::<D>(), take_all(saved, n_saved), take_all(gradients, n_gradients)) };
        let saved: Vec<Tensor> =
            saved.into_iter().map(|t| t.ok_or("a saved tensor is gone")).collect::<Result<_, _>>()?;
        node.backward(&saved, &gradients)?.iter().for_each(|t| push(results, t.as_ref()));
        Ok(())
    })
}

unsafe extern "C" fn drop_object<D: Differentiable>(object: *mut c_void) {
    // SAFETY: the shim drops each object once.
    let node = unsafe { Box::from_raw(object.cast::<D>()) };
    // A panic must not leave an extern "C" function; there is nobody to tell.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(node)));
}

/// # Safety
/// `handles` are `n` handles that nobody else frees.
unsafe fn take_all(handles: *const Handle, n: usize) -> Vec<Option<Tensor>> {
    // SAFETY: by the caller's promise.
    (0..n).map(|i| unsafe { take(*handles.add(i)) }).collect()
}

fn push(list: *mut List, tensor: Option<&Tensor>) {
    // SAFETY: the list lives during the callback; the shim copies the tensor.
    unsafe { ds_push(list, tensor.map_or(null_mut(), handle)) }
}

/// Runs a callback's body; an error or a panic becomes a sentence in `error`.
fn guarded(error: *mut c_char, body: impl FnOnce() -> Result<(), NodeError>) -> c_int {
    let sentence = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return 0,
        Ok(Err(reason)) => reason.to_string(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            format!("panicked: {}", text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words"))
        }
    };
    let bytes: Vec<u8> = sentence.bytes().filter(|&b| b != 0).take(ERROR_BYTES - 1).chain([0]).collect();
    // SAFETY: the buffer holds ERROR_BYTES.
    unsafe { bytes.as_ptr().cast::<c_char>().copy_to_nonoverlapping(error, bytes.len()) };
    1
}
