//! LibTorch's CUDA half, which nothing links and which only some machines have.
#![expect(unsafe_code, reason = "dlopen; the library stays loaded for good")]

use std::ffi::CStr;
use std::sync::OnceLock;

use crate::TorchError;

const LIBRARY: &CStr = c"libtorch_cuda.so";

/// Loads LibTorch's CUDA half from where its CPU half lies. Cheap after the first time.
///
/// # Errors
/// When it is not installed, or does not load.
pub fn load_cuda() -> Result<(), TorchError> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        // SAFETY: the library's initialisers are LibTorch's own; the handle is never closed.
        let handle = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if !handle.is_null() {
            return Ok(());
        }
        // SAFETY: dlerror gives null or a string that lives until the next call of this thread.
        let text = unsafe { libc::dlerror() };
        if text.is_null() {
            return Err("the loader gives no reason".to_owned());
        }
        // SAFETY: as above.
        Err(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    });
    loaded.clone().map_err(|reason| TorchError::Library { library: "libtorch_cuda.so", reason })
}
