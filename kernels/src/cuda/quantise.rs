//! Matrices to E4M3 codes and scales.

use tch::{Kind, Tensor};

use super::launch::{Argument, Launch, named, pack};
use crate::TorchError;
use crate::fp8::{ALONG, Quantised, ScaleRule, Scaling};

/// Threads of a block in `quantise.cu`.
const THREADS: u32 = 256;
/// Tiles that as many threads as one takes have there.
const TILES: i64 = 4;

/// What upright tiles are of, where they are not every 128 rows: spans of rows, `[tiles, 3]` as [`super::Spans`] has them.
type Tiled<'a> = Option<&'a Tensor>;

/// The same bytes as [`crate::fp8::quantise`] of `x`, `[m, k]`; only which NaN stands for a NaN may differ. No scale is made
/// for less than `least`. Codes of upright tiles lie in memory as those of the transpose, which products want.
///
/// # Errors
/// When `x` is no matrix, or CUDA refuses.
pub fn quantise(x: &Tensor, scaling: Scaling, rule: ScaleRule, least: f64) -> Result<Quantised, TorchError> {
    in_spans(x, scaling, rule, least, None)
}

/// Upright tiles of spans of rows, each filled up with zeros to 128 rows: codes `[128 · tiles, k]`, which lie in memory as
/// those of the transpose, and scales `[tiles, k]`.
///
/// # Errors
/// Likewise.
pub(crate) fn upright_in_spans(
    x: &Tensor,
    spans: &Tensor,
    rule: ScaleRule,
    least: f64,
) -> Result<Quantised, TorchError> {
    in_spans(x, Scaling::Upright, rule, least, Some(spans))
}

fn in_spans(
    x: &Tensor,
    scaling: Scaling,
    rule: ScaleRule,
    least: f64,
    spans: Tiled<'_>,
) -> Result<Quantised, TorchError> {
    let x = if x.kind() == Kind::BFloat16 { x.contiguous() } else { x.to_kind(Kind::Float).contiguous() };
    let (m, k) = x.size2()?;
    let up = |n: i64, part: i64| (n + part - 1) / part;
    let (down, across) = (spans.map_or(up(m, ALONG), |spans| spans.size()[0]), up(k, ALONG));
    let width = if spans.is_some() { down * ALONG } else { m };
    let (kernel, size, scales, blocks) = match scaling {
        // A tile takes as many threads as it has packs.
        Scaling::Tiles => (
            "quantise_tiles",
            [m, k],
            [m, across],
            up(m * across * (ALONG / pack(x.kind())), TILES * i64::from(THREADS)),
        ),
        Scaling::Upright => ("quantise_upright", [k, width], [down, k], down * across),
        Scaling::Blocks => ("quantise_blocks", [m, k], [down, across], down * across),
    };
    let codes = Tensor::empty(size, (Kind::Float8e4m3fn, x.device()));
    let scales = Tensor::empty(scales, (Kind::Float, x.device()));
    let mut arguments = vec![
        Argument::Tensor(&x),
        Argument::Tensor(&codes),
        Argument::Tensor(&scales),
        Argument::Long(m),
        Argument::Long(k),
        Argument::Int((rule == ScaleRule::PowerOfTwo).into()),
        Argument::Float(least as f32),
    ];
    if scaling == Scaling::Upright {
        arguments.extend([spans.map_or(Argument::Long(0), Argument::Tensor), Argument::Long(width)]);
    }
    let kernel = &named(kernel, k, &[&x])?;
    let launch = Launch { kernel, blocks, threads: THREADS, shared_bytes: 0, arguments: &arguments };
    launch.on(x.device())?;
    let codes = if scaling == Scaling::Upright { codes.tr() } else { codes };
    Ok(Quantised::new(codes, scales, scaling))
}

/// Whether [`dequantise`] takes these codes.
pub(crate) fn dequantises(q: &Quantised) -> bool {
    let is_whole = q.scaling == Scaling::Tiles && q.codes.size()[1] % CODES == 0 && q.codes.is_contiguous();
    is_whole && super::card::is_ready(q.codes.device())
}

/// Codes that a thread of `dequantise_tiles` has.
const CODES: i64 = 16;

/// Code · scale, FP32 `[m, k]`, of tiles, `[m, k]` of whole 16.
///
/// # Errors
/// When CUDA refuses.
pub(crate) fn dequantise(q: &Quantised) -> Result<Tensor, TorchError> {
    let (m, k) = q.codes.size2()?;
    let (codes, scales) = (q.codes.contiguous(), q.scales.contiguous());
    let numbers = Tensor::empty([m, k], (Kind::Float, codes.device()));
    let launch = Launch {
        kernel: "dequantise_tiles",
        blocks: (m * k / CODES + i64::from(THREADS) - 1) / i64::from(THREADS),
        threads: THREADS,
        shared_bytes: 0,
        arguments: &[
            Argument::Tensor(&codes),
            Argument::Tensor(&scales),
            Argument::Tensor(&numbers),
            Argument::Long(m),
            Argument::Long(k),
        ],
    };
    launch.on(codes.device())?;
    Ok(numbers)
}
