//! Matrices to E4M3 codes and scales.

use tch::{Kind, Tensor};

use super::launch::{Argument, Launch, named, pack};
use crate::TorchError;
use crate::fp8::{ALONG, Quantised, ScaleRule, Scaling};

/// Threads of a block in `quantise.cu`.
const THREADS: u32 = 256;
/// Tiles that as many threads as one takes have there.
const TILES: i64 = 4;

/// The same bytes as [`crate::fp8::quantise`] of `x`, `[m, k]`; only which NaN stands for a NaN may differ. No scale is made
/// for less than `least`. Codes of upright tiles lie in memory as those of the transpose, which products want.
///
/// # Errors
/// When `x` is no matrix, or CUDA refuses.
pub fn quantise(x: &Tensor, scaling: Scaling, rule: ScaleRule, least: f64) -> Result<Quantised, TorchError> {
    let x = if x.kind() == Kind::BFloat16 { x.contiguous() } else { x.to_kind(Kind::Float).contiguous() };
    let (m, k) = x.size2()?;
    let up = |n: i64, part: i64| (n + part - 1) / part;
    let (down, across) = (up(m, ALONG), up(k, ALONG));
    let (kernel, size, scales, blocks) = match scaling {
        // A tile takes as many threads as it has packs.
        Scaling::Tiles => (
            "quantise_tiles",
            [m, k],
            [m, across],
            up(m * across * (ALONG / pack(x.kind())), TILES * i64::from(THREADS)),
        ),
        Scaling::Upright => ("quantise_upright", [k, m], [down, k], down * across),
        Scaling::Blocks => ("quantise_blocks", [m, k], [down, across], down * across),
    };
    let codes = Tensor::empty(size, (Kind::Float8e4m3fn, x.device()));
    let scales = Tensor::empty(scales, (Kind::Float, x.device()));
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
            Argument::Float(least as f32),
        ],
    };
    launch.on(x.device())?;
    let codes = if scaling == Scaling::Upright { codes.tr() } else { codes };
    Ok(Quantised::new(codes, scales, scaling))
}
