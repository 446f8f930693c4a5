//! One start of a kernel.

use tch::{Device, Kind, Tensor};

use super::source::SOURCES;
use crate::TorchError;

/// What a kernel is given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument<'a> {
    /// The address of a dense tensor's first element.
    Tensor(&'a Tensor),
    Long(i64),
    Int(i32),
    Float(f32),
}

/// A kernel, its threads and its arguments, in the order of its declaration.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) kernel: &'a str,
    pub(super) blocks: i64,
    pub(super) threads: u32,
    /// At most [`SHARED_BYTES_MAX`], or [`SHARED_BYTES_OF_HOPPER`] for a kernel of Hopper's.
    pub(super) shared_bytes: i64,
    pub(super) arguments: &'a [Argument<'a>],
}

/// More blocks than a launch takes.
const BLOCKS_END: i64 = 1 << 31;
/// Shared memory that every card gives a block without being asked.
pub(super) const SHARED_BYTES_MAX: i64 = 48 * 1024;
/// What a Hopper card gives a block that asks.
pub(super) const SHARED_BYTES_OF_HOPPER: i64 = 227 * 1024;

impl Launch<'_> {
    /// Starts the kernel where its tensors are.
    ///
    /// # Errors
    /// When there are too many blocks, tensors lie elsewhere, or CUDA refuses.
    pub(super) fn on(&self, device: Device) -> Result<(), TorchError> {
        self.check(device).map_err(|reason| TorchError::Refused { op: "kernel", reason })?;
        if self.blocks == 0 {
            return Ok(());
        }
        match device {
            Device::Cuda(index) => super::card::launch(self, index),
            #[cfg(test)]
            Device::Cpu => super::emulated::launch(self),
            _ => {
                Err(TorchError::Refused { op: "kernel", reason: format!("{} does not run on {device:?}", self.kernel) })
            }
        }
    }

    fn check(&self, device: Device) -> Result<(), String> {
        let kernel = self.kernel;
        if !(0..BLOCKS_END).contains(&self.blocks) {
            return Err(format!("{kernel} in {} blocks: CUDA starts fewer than {BLOCKS_END}", self.blocks));
        }
        let is_hoppers = SOURCES.iter().any(|source| source.is_hoppers && source.alone.contains(&kernel));
        let most = if is_hoppers { SHARED_BYTES_OF_HOPPER } else { SHARED_BYTES_MAX };
        if self.shared_bytes > most {
            return Err(format!("{kernel} with {} bytes of shared memory, at most {most}", self.shared_bytes));
        }
        for argument in self.arguments {
            if let Argument::Tensor(tensor) = argument
                && (tensor.device() != device || !tensor.is_contiguous())
            {
                return Err(format!(
                    "{kernel} on {device:?}: a tensor {:?} lies elsewhere or not densely",
                    tensor.size()
                ));
            }
        }
        Ok(())
    }

    /// The arguments as they lie in memory, each in its lowest bytes.
    pub(super) fn words(&self) -> Vec<u64> {
        self.arguments
            .iter()
            .map(|&argument| match argument {
                Argument::Tensor(tensor) => tensor.data_ptr() as u64,
                Argument::Long(x) => x.cast_unsigned(),
                Argument::Int(x) => x.cast_unsigned().into(),
                Argument::Float(x) => x.to_bits().into(),
            })
            .collect()
    }
}

/// Bytes that a thread moves at once.
const PACK_BYTES: i64 = 16;

/// Elements that a thread moves at once.
pub(super) fn pack(kind: Kind) -> i64 {
    PACK_BYTES / kind.elt_size_in_bytes() as i64
}

/// A kernel's name for these tensors, all of one format, FP32 or BF16, with rows of `n`.
///
/// # Errors
/// When they have another format.
pub(super) fn named(kernel: &str, n: i64, tensors: &[&Tensor]) -> Result<String, TorchError> {
    let kind = tensors[0].kind();
    if tensors.iter().any(|tensor| tensor.kind() != kind) || !matches!(kind, Kind::Float | Kind::BFloat16) {
        let kinds: Vec<Kind> = tensors.iter().map(|tensor| tensor.kind()).collect();
        let reason = format!("{kernel} takes FP32 or BF16 throughout, not {kinds:?}");
        return Err(TorchError::Refused { op: "kernel", reason });
    }
    let format = if kind == Kind::Float { "f32" } else { "bf16" };
    let starts_at_packs = |tensor: &&Tensor| (tensor.data_ptr() as i64) % PACK_BYTES == 0;
    let any = if n % pack(kind) == 0 && tensors.iter().all(starts_at_packs) { "" } else { "_any" };
    Ok(format!("{kernel}_{format}{any}"))
}

/// Whole warps for one row of `n`, at most eight.
pub(super) fn threads_for_row(n: i64, kind: Kind) -> u32 {
    const WARP: i64 = 32;
    let warps = (n + pack(kind) * WARP - 1) / (pack(kind) * WARP);
    (warps.clamp(1, 8) * WARP) as u32
}
