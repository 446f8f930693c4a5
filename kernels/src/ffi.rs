//! The face of `cpp/shim.cpp`.
#![expect(unsafe_code, reason = "calls into LibTorch's C++ through the shim; every call is bounded by its slices")]

use std::ffi::{CStr, c_char, c_int, c_void};

use tch::Tensor;

use crate::TorchError;

/// A tensor's handle, as tch holds it.
pub(crate) type Handle = *mut torch_sys::C_tensor;

/// Size of every error buffer; the shim knows the same number.
pub(crate) const ERROR_BYTES: usize = 4096;

/// A list of tensors on the C++ side.
#[repr(C)]
pub(crate) struct List {
    _opaque: [u8; 0],
}

/// An autograd node's object and functions; the C++ side owns the object.
#[repr(C)]
pub(crate) struct Node {
    pub(crate) object: *mut c_void,
    pub(crate) forward:
        unsafe extern "C" fn(*mut c_void, *const Handle, usize, *mut List, *mut List, *mut c_char) -> c_int,
    pub(crate) backward:
        unsafe extern "C" fn(*mut c_void, *const Handle, usize, *const Handle, usize, *mut List, *mut c_char) -> c_int,
    pub(crate) drop: unsafe extern "C" fn(*mut c_void),
}

/// The experts of a rank and the rows that each of the `n` has got.
#[repr(C)]
pub(crate) struct WeightsOfExperts {
    pub(crate) gate_up: Handle,
    pub(crate) down: Handle,
    pub(crate) counts: *const i64,
    pub(crate) n: usize,
    pub(crate) widen: c_int,
}

unsafe extern "C" {
    pub(crate) fn ds_push(list: *mut List, tensor: Handle);
    pub(crate) fn ds_backward(
        outputs: *const Handle,
        gradients: *const Handle,
        n_outputs: usize,
        inputs: *const Handle,
        n_inputs: usize,
        keep_graph: c_int,
        results: *mut Handle,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_fused_adamw(
        n: usize,
        parameters: *const Handle,
        gradients: *const Handle,
        moments1: *const Handle,
        moments2: *const Handle,
        steps: *const Handle,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_rms_norm(
        x: Handle,
        w: Handle,
        eps: f64,
        y: *mut Handle,
        scale: *mut Handle,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_rms_norm_back(
        dy: Handle,
        x: Handle,
        w: Handle,
        scale: Handle,
        dx: *mut Handle,
        dw: *mut Handle,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_experts(
        x: Handle,
        weights: WeightsOfExperts,
        y: *mut Handle,
        both: *mut Handle,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_experts_back(
        dy: Handle,
        x: Handle,
        both: Handle,
        weights: WeightsOfExperts,
        dgate_up: Handle,
        ddown: Handle,
        dx: *mut Handle,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_experts_back_input(
        dy: Handle,
        both: Handle,
        weights: WeightsOfExperts,
        dx: *mut Handle,
        dboth: *mut Handle,
        act: *mut Handle,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_experts_back_weight(
        dy: Handle,
        x: Handle,
        dboth: Handle,
        act: Handle,
        weights: WeightsOfExperts,
        dgate_up: Handle,
        ddown: Handle,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_combine(
        h: Handle,
        back: Handle,
        place: Handle,
        weight: Handle,
        out: *mut Handle,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_combine_back(
        dout: Handle,
        back: Handle,
        place: Handle,
        weight: Handle,
        dback: *mut Handle,
        dweight: *mut Handle,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_e4m3_quantise(
        x: Handle,
        height: i64,
        tiles: c_int,
        power_of_two: c_int,
        least: f64,
        codes: *mut Handle,
        numbers: *mut Handle,
        scales: *mut Handle,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_e4m3_dequantise(
        codes: Handle,
        scales: Handle,
        height: i64,
        tiles: c_int,
        numbers: *mut Handle,
        error: *mut c_char,
    ) -> c_int;
    pub(crate) fn ds_norms(n: usize, tensors: *const Handle, result: *mut Handle, error: *mut c_char) -> c_int;
    pub(crate) fn ds_release(tensor: Handle, error: *mut c_char) -> c_int;
    pub(crate) fn ds_refill(tensor: Handle, fresh: Handle, error: *mut c_char) -> c_int;
    pub(crate) fn ds_reuse_blocks();
    pub(crate) fn ds_count_bytes();
    pub(crate) fn ds_live_bytes() -> u64;
    pub(crate) fn ds_peak_bytes() -> u64;
    pub(crate) fn ds_restart_peak();
    pub(crate) fn ds_apply(
        node: Node,
        inputs: *const Handle,
        n_inputs: usize,
        outputs: *mut Handle,
        n_outputs_max: usize,
        n_outputs: *mut usize,
        error: *mut c_char,
    ) -> c_int;
}

/// The handle of a tensor that stays ours.
pub(crate) fn handle(tensor: &Tensor) -> Handle {
    tensor.as_ptr().cast_mut()
}

/// Calls into the shim with an error buffer.
pub(crate) fn checked(op: &'static str, call: impl FnOnce(*mut c_char) -> c_int) -> Result<(), TorchError> {
    let mut error = [0 as c_char; ERROR_BYTES];
    if call(error.as_mut_ptr()) == 0 {
        return Ok(());
    }
    // SAFETY: the shim ends every error with a zero within the buffer.
    let text = unsafe { CStr::from_ptr(error.as_ptr()) }.to_string_lossy();
    Err(TorchError::Refused { op, reason: first_lines(&text) })
}

/// Takes a handle that the C++ side gave away; none for an undefined tensor.
///
/// # Safety
/// `handle` is null or a fresh handle that nobody else frees.
pub(crate) unsafe fn take(handle: Handle) -> Option<Tensor> {
    // SAFETY: by the caller's promise.
    (!handle.is_null()).then(|| unsafe { Tensor::from_ptr(handle) })
}

/// Without the stack trace that LibTorch appends.
fn first_lines(text: &str) -> String {
    let end = text.find("\nException raised from").unwrap_or(text.len());
    text[..end].trim().to_owned()
}
