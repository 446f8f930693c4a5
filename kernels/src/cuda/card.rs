//! Cards with the kernels on them.
#![expect(unsafe_code, reason = "calls the CUDA driver; contexts and modules are never released")]

use std::collections::HashMap;
use std::ffi::{CString, c_int, c_void};
use std::sync::OnceLock;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use tch::{Device, Kind, Tensor};

use super::compile::compile;
use super::launch::{Launch, SHARED_BYTES_MAX};
use super::source::SOURCES;
use crate::TorchError;
use crate::library::has_driver;

/// More cards than a machine has.
const CARDS_MAX: usize = 64;
/// From which on cards convert to E4M3 themselves.
const OLDEST: (c_int, c_int) = (8, 9);

/// A card's context, which is LibTorch's as well, and its kernels by name.
#[derive(Debug)]
struct Card {
    context: sys::CUcontext,
    kernels: HashMap<String, sys::CUfunction>,
}

// SAFETY: CUDA's handles may be used on any thread.
unsafe impl Send for Card {}
// SAFETY: likewise; the map is never changed.
unsafe impl Sync for Card {}

static CARDS: [OnceLock<Result<Card, String>>; CARDS_MAX] = [const { OnceLock::new() }; CARDS_MAX];

/// Compiles all kernels for the card and puts them there; takes seconds the first time and nothing later. From then on
/// tensors on this card use them, and LibTorch's own operations until then.
///
/// # Errors
/// When the driver or NVRTC is missing, the card is older than Ada, or CUDA refuses. Why it failed stays: a card that could
/// not be prepared is not tried again.
pub fn prepare(index: usize) -> Result<(), TorchError> {
    card(index).map(|_| ())
}

/// Whether the kernels take this tensor: its card is prepared, and they know its format.
pub fn takes(x: &Tensor) -> bool {
    is_ready(x.device()) && matches!(x.kind(), Kind::Float | Kind::BFloat16)
}

/// Whether the card is prepared.
pub(super) fn is_ready(device: Device) -> bool {
    let Device::Cuda(index) = device else { return false };
    CARDS.get(index).and_then(OnceLock::get).is_some_and(Result::is_ok)
}

/// Whether the card is prepared and has the kernels that are for Hopper cards only.
pub(crate) fn is_hopper(device: Device) -> bool {
    let Device::Cuda(index) = device else { return false };
    let ready = CARDS.get(index).and_then(OnceLock::get).and_then(|card| card.as_ref().ok());
    ready.is_some_and(|card| {
        SOURCES.iter().filter(|s| s.is_hoppers).all(|s| s.names().iter().all(|n| card.kernels.contains_key(n)))
    })
}

/// Starts a kernel on LibTorch's stream, which is the card's default one unless somebody has chosen another; nobody does.
pub(super) fn launch(launch: &Launch<'_>, index: usize) -> Result<(), TorchError> {
    let card = card(index)?;
    let refused = |reason: String| TorchError::Refused { op: "kernel", reason: format!("{}: {reason}", launch.kernel) };
    let kernel = *card.kernels.get(launch.kernel).ok_or_else(|| refused("no kernel of that name".to_owned()))?;
    let mut words = launch.words();
    let mut arguments: Vec<*mut c_void> = words.iter_mut().map(|word| (&raw mut *word).cast()).collect();
    let blocks = (launch.blocks as u32, 1, 1);
    let started = within(card.context, || {
        if launch.shared_bytes > SHARED_BYTES_MAX {
            let room = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the kernel is one that the driver has named.
            unsafe { result::function::set_function_attribute(kernel, room, launch.shared_bytes as c_int)? };
        }
        // SAFETY: the arguments are those of the kernel of that name; `Launch` has checked that tensors lie on this card,
        // and LibTorch gives their memory to nobody who runs before this kernel on the stream.
        unsafe {
            result::launch_kernel(
                kernel,
                blocks,
                (launch.threads, 1, 1),
                launch.shared_bytes as u32,
                result::stream::null(),
                &mut arguments,
            )
        }
    });
    started.map_err(|error| refused(words_of(&error)))
}

fn card(index: usize) -> Result<&'static Card, TorchError> {
    let refused = |reason| TorchError::Refused { op: "CUDA kernels", reason };
    let slot = CARDS.get(index).ok_or_else(|| refused(format!("card {index}: at most {CARDS_MAX} are known")))?;
    slot.get_or_init(|| open(index).map_err(|error| error.to_string()))
        .as_ref()
        .map_err(|reason| refused(reason.clone()))
}

fn open(index: usize) -> Result<Card, TorchError> {
    let refused = |error: DriverError| TorchError::Refused { op: "CUDA", reason: words_of(&error) };
    if !has_driver() {
        return Err(TorchError::Library { library: "libcuda", reason: "no driver is installed".to_owned() });
    }
    result::init().map_err(refused)?;
    let device = result::device::get(index as c_int).map_err(refused)?;
    let version = version(device).map_err(refused)?;
    if version < OLDEST {
        let reason = format!("cuda:{index} is sm_{}{}, kernels need sm_{}{}", version.0, version.1, OLDEST.0, OLDEST.1);
        return Err(TorchError::Refused { op: "CUDA", reason });
    }
    // SAFETY: the device is one that the driver has just named.
    let context = unsafe { result::primary_ctx::retain(device) }.map_err(refused)?;
    let architecture = format!("sm_{}{}", version.0, version.1);
    let mut kernels = HashMap::new();
    for source in SOURCES {
        let Some(architecture) = source.architecture(&architecture) else { continue };
        let compiled = compile(source, &architecture)?;
        within(context, || load(&compiled.code, &source.names(), &mut kernels)).map_err(refused)?;
    }
    Ok(Card { context, kernels })
}

fn version(device: sys::CUdevice) -> Result<(c_int, c_int), DriverError> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    // SAFETY: the device is one that the driver has named.
    unsafe { Ok((result::device::get_attribute(device, MAJOR)?, result::device::get_attribute(device, MINOR)?)) }
}

fn load(code: &[u8], names: &[String], kernels: &mut HashMap<String, sys::CUfunction>) -> Result<(), DriverError> {
    // SAFETY: the image is what NVRTC has made for this card; the module is never unloaded.
    unsafe {
        let module = result::module::load_data(code.as_ptr().cast())?;
        for name in names {
            let c_name = CString::new(name.as_str()).expect("a kernel's name");
            kernels.insert(name.clone(), result::module::get_function(module, c_name)?);
        }
    }
    Ok(())
}

/// Runs `work` with this context, and gives the thread back the one it had.
fn within<T>(context: sys::CUcontext, work: impl FnOnce() -> Result<T, DriverError>) -> Result<T, DriverError> {
    let before = result::ctx::get_current()?;
    if before == Some(context) {
        return work();
    }
    // SAFETY: the context is a card's primary one, and those are kept; the one before is LibTorch's business.
    unsafe { result::ctx::set_current(context)? };
    let done = work();
    // SAFETY: likewise; no context at all is a null pointer.
    unsafe { result::ctx::set_current(before.unwrap_or(std::ptr::null_mut()))? };
    done
}

fn words_of(error: &DriverError) -> String {
    format!("{error:?}")
}
