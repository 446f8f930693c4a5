//! Matrices to E4M3 codes and scales.

use tch::{Kind, Tensor};

use super::launch::{Argument, Launch, named, pack};
use crate::TorchError;
use crate::fp8::{ALONG, Quantised, ScaleRule, Scaling};

/// Threads of a block in `quantise.cu`.
const THREADS: u32 = 256;

/// The same bytes as [`crate::fp8::quantise`] of `x`, `[m, k]`; only which NaN stands for a NaN may differ.
///
/// # Errors
/// When `x` is no matrix, or CUDA refuses.
pub fn quantise(x: &Tensor, scaling: Scaling, rule: ScaleRule) -> Result<Quantised, TorchError> {
    let x = if x.kind() == Kind::BFloat16 { x.contiguous() } else { x.to_kind(Kind::Float).contiguous() };
    let (m, k) = x.size2()?;
    let up = |n: i64, part: i64| (n + part - 1) / part;
    let across = up(k, ALONG);
    let (kernel, rows, blocks) = match scaling {
        // A tile takes as many threads as it has packs.
        Scaling::Tiles => ("quantise_tiles", m, up(m * across * (ALONG / pack(x.kind())), THREADS.into())),
        Scaling::Upright => {
            return Err(TorchError::Refused {
                op: "E4M3 codes",
                reason: "there is no kernel for upright tiles".into(),
            });
        }
        Scaling::Blocks => ("quantise_blocks", up(m, ALONG), up(m, ALONG) * across),
    };
    let codes = Tensor::empty([m, k], (Kind::Float8e4m3fn, x.device()));
    let scales = Tensor::empty([rows, across], (Kind::Float, x.device()));
    let launch = Launch {
        kernel: &named(kernel, k, &[&x])?,
        blocks,
        threads: THREADS,
        shared_bytes: 0,
        arguments: &[
            Argument::Tensor(&x),
            Argument::Tensor(&codes),
            Argument::Tensor(&scales),
            Argument::Long(m),
            Argument::Long(k),
            Argument::Int((rule == ScaleRule::PowerOfTwo).into()),
        ],
    };
    launch.on(x.device())?;
    Ok(Quantised::new(codes, scales, scaling))
}
