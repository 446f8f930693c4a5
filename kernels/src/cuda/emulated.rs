//! Kernels on the CPU, for tests (see `cpp/emulator.h`).
#![expect(unsafe_code, reason = "calls the kernels' sources, which trust their arguments as a card does")]

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};

use super::launch::Launch;
use crate::TorchError;
use crate::ffi::checked;

unsafe extern "C" {
    fn ds_emulate(
        name: *const c_char,
        blocks: c_uint,
        threads: c_uint,
        shared_bytes: c_uint,
        arguments: *mut *mut c_void,
        seed: u32,
        error: *mut c_char,
    ) -> c_int;
}

thread_local! {
    /// Of the order in which threads take turns.
    static SEED: Cell<u32> = const { Cell::new(0) };
}

/// What `work` gives when threads take turns in several orders; it must be the same.
pub(super) fn in_every_order<T: PartialEq + std::fmt::Debug>(work: impl Fn() -> T) -> T {
    let first = work();
    for seed in 1..4 {
        SEED.set(seed);
        assert_eq!(work(), first, "threads that take turns in order {seed} give something else");
    }
    SEED.set(0);
    first
}

pub(super) fn launch(launch: &Launch<'_>) -> Result<(), TorchError> {
    let name = CString::new(launch.kernel).expect("a kernel's name");
    let mut words = launch.words();
    let mut arguments: Vec<*mut c_void> = words.iter_mut().map(|word| (&raw mut *word).cast()).collect();
    // SAFETY: the arguments are those of the kernel of that name and live through the call, as do the tensors.
    checked("emulated kernel", |error| unsafe {
        ds_emulate(
            name.as_ptr(),
            launch.blocks as c_uint,
            launch.threads,
            launch.shared_bytes as c_uint,
            arguments.as_mut_ptr(),
            SEED.get(),
            error,
        )
    })
}
