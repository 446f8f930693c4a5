//! Libraries that nothing links and only some machines have: LibTorch's CUDA half, and NVRTC.
#![expect(unsafe_code, reason = "dlopen; libraries stay loaded for good")]

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::TorchError;

/// Where the wheels of CUDA 13 lie, seen from LibTorch's libraries.
const BESIDE_LIBTORCH: &str = "../../nvidia/cu13/lib";
/// NVRTC looks for its second library by name alone, so that one comes first.
const NVRTC: [&str; 2] = ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"];

/// Loads LibTorch's CUDA half from where its CPU half lies. Cheap after the first time.
///
/// # Errors
/// When it is not installed, or does not load.
pub fn load_cuda() -> Result<(), TorchError> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| open("libtorch_cuda.so"));
    loaded.clone().map_err(|reason| TorchError::Library { library: "libtorch_cuda.so", reason })
}

/// Loads NVRTC from the wheels beside LibTorch, or else from where the loader looks. Cheap after the first time.
///
/// # Errors
/// When no version that cudarc knows is installed.
pub(crate) fn load_nvrtc() -> Result<(), TorchError> {
    static LOADED: OnceLock<bool> = OnceLock::new();
    let loaded = *LOADED.get_or_init(|| {
        if let Some(folder) = folder_of_libtorch().map(|folder| folder.join(BESIDE_LIBTORCH)) {
            // What is not there may still be elsewhere.
            NVRTC.iter().for_each(|name| drop(open(folder.join(name))));
        }
        // SAFETY: NVRTC's initialisers are its own.
        unsafe { cudarc::nvrtc::sys::is_culib_present() }
    });
    if loaded {
        return Ok(());
    }
    let reason = format!("neither {BESIDE_LIBTORCH} beside LibTorch nor the loader's folders hold it");
    Err(TorchError::Library { library: "libnvrtc", reason })
}

/// Whether the driver of a card is installed.
pub(crate) fn has_driver() -> bool {
    // SAFETY: the driver's initialisers are its own.
    unsafe { cudarc::driver::sys::is_culib_present() }
}

fn open(library: impl AsRef<OsStr>) -> Result<(), String> {
    let name = CString::new(library.as_ref().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: the library's initialisers are its own; the handle is never closed.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
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
}

/// Of the library that holds `at::get_num_threads`.
fn folder_of_libtorch() -> Option<PathBuf> {
    // SAFETY: asks for the address of a symbol, and for the file that it is from.
    let file = unsafe {
        let symbol = libc::dlsym(libc::RTLD_DEFAULT, c"_ZN2at15get_num_threadsEv".as_ptr());
        let mut info: libc::Dl_info = std::mem::zeroed();
        if symbol.is_null() || libc::dladdr(symbol, &mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        CStr::from_ptr(info.dli_fname)
    };
    // A link to LibTorch may lead to a folder that has no wheels beside it.
    let file = PathBuf::from(OsStr::from_bytes(file.to_bytes())).canonicalize().ok()?;
    file.parent().map(ToOwned::to_owned)
}
