//! Tensors to E4M3 codes and scales, and back.

use tch::{Device, Kind, Tensor};

use super::on_cpu;
use crate::cuda;

/// Elements along a side of a tile or block.
pub const ALONG: i64 = 128;
/// The greatest E4M3 number.
const MAX: f64 = 448.0;
/// No scale of activations and weights is made for less than this (the released kernels' rule), so that zeros have one.
pub(crate) const LEAST: f64 = 1e-4;
/// Likewise of gradients, which may well be that small: 2⁻¹⁰⁰, whose scale is still a normal single.
pub(crate) const LEAST_GRADIENT: f64 = 1.0 / (1_u128 << 100) as f64;

/// How a scale follows from the greatest element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleRule {
    /// The greatest magnitude / 448, but not less than [`quantise`] and [`quantise_gradient`] say.
    Exact,
    /// The next power of two that is not less, so that scaling rounds nothing.
    PowerOfTwo,
}

/// What shares a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// 128 neighbours of a row.
    Tiles,
    /// 128 neighbours of a column.
    Upright,
    /// 128 × 128 neighbours.
    Blocks,
}

/// A matrix in E4M3. Edges that fill no tile or block have a scale of their own.
#[derive(Debug)]
pub struct Quantised {
    /// `[m, k]` of `float8_e4m3fn`.
    pub codes: Tensor,
    /// FP32: `[m, ⌈k/128⌉]` for tiles, `[⌈m/128⌉, k]` for upright ones, `[⌈m/128⌉, ⌈k/128⌉]` for blocks; element =
    /// code · scale.
    pub scales: Tensor,
    /// What shares a scale.
    pub scaling: Scaling,
    /// Code · scale, where quantising has made them anyway.
    numbers: Option<Tensor>,
}

/// Codes of activations or weights `x`, `[m, k]`: element / scale in FP32, to the nearest E4M3 number, of two equally near
/// the even one. Scales are those of 10⁻⁴ at least.
///
/// # Panics
/// When LibTorch or CUDA refuses.
pub fn quantise(x: &Tensor, scaling: Scaling, rule: ScaleRule) -> Quantised {
    with_least(x, scaling, rule, LEAST)
}

/// Likewise of gradients. A loss is a mean over all tokens of a batch, so a gradient of 10⁻⁹ is nothing special: under
/// the scales of [`quantise`] it would be lost.
///
/// # Panics
/// When LibTorch or CUDA refuses.
pub fn quantise_gradient(x: &Tensor, scaling: Scaling, rule: ScaleRule) -> Quantised {
    with_least(x, scaling, rule, LEAST_GRADIENT)
}

fn with_least(x: &Tensor, scaling: Scaling, rule: ScaleRule, least: f64) -> Quantised {
    match x.device() {
        Device::Cpu => on_cpu::quantise(x, scaling, rule, least),
        _ if cuda::takes(x) => cuda::quantise(x, scaling, rule, least).unwrap_or_else(|error| panic!("{error}")),
        _ => in_steps(x, scaling, rule, least),
    }
}

/// What [`quantise`] means, in LibTorch's own operations; on every device.
pub fn step_by_step(x: &Tensor, scaling: Scaling, rule: ScaleRule) -> Quantised {
    in_steps(x, scaling, rule, LEAST)
}

fn in_steps(x: &Tensor, scaling: Scaling, rule: ScaleRule, least: f64) -> Quantised {
    let x = x.to_kind(Kind::Float);
    let greatest = match scaling {
        Scaling::Tiles => tiles(&x).abs().amax([-1_i64].as_slice(), false),
        Scaling::Upright => tiles(&x.tr()).abs().amax([-1_i64].as_slice(), false).tr(),
        Scaling::Blocks => blocks(&x).abs().amax([1_i64, 3].as_slice(), false),
    };
    let scales = rule.scales(&greatest, least);
    let codes = (&x / spread(&scales, scaling, &x.size())).to_kind(Kind::Float8e4m3fn);
    Quantised::new(codes, scales, scaling)
}

impl Quantised {
    /// Codes and their scales, as [`quantise`] made them.
    pub fn new(codes: Tensor, scales: Tensor, scaling: Scaling) -> Self {
        Self { codes, scales, scaling, numbers: None }
    }

    /// Beside the numbers that the codes stand for.
    pub(super) fn with(self, numbers: Tensor) -> Self {
        Self { numbers: Some(numbers), ..self }
    }

    /// Code · scale, in FP32.
    ///
    /// # Panics
    /// When LibTorch refuses.
    pub fn dequantise(&self) -> Tensor {
        if let Some(numbers) = &self.numbers {
            return numbers.shallow_clone();
        }
        if self.codes.device() == Device::Cpu {
            return on_cpu::dequantise(self);
        }
        if cuda::dequantises(self) {
            return cuda::dequantise(self).unwrap_or_else(|error| panic!("{error}"));
        }
        self.codes.to_kind(Kind::Float) * spread(&self.scales, self.scaling, &self.codes.size())
    }

    /// The transpose: scales turn with what shares them.
    pub fn transposed(&self) -> Self {
        let scaling = match self.scaling {
            Scaling::Tiles => Scaling::Upright,
            Scaling::Upright => Scaling::Tiles,
            Scaling::Blocks => Scaling::Blocks,
        };
        let numbers = self.numbers.as_ref().map(Tensor::tr);
        Self { codes: self.codes.tr(), scales: self.scales.tr(), scaling, numbers }
    }

    /// Handles to the same tensors.
    pub fn shallow_clone(&self) -> Self {
        let numbers = self.numbers.as_ref().map(Tensor::shallow_clone);
        Self { codes: self.codes.shallow_clone(), scales: self.scales.shallow_clone(), scaling: self.scaling, numbers }
    }
}

impl ScaleRule {
    fn scales(self, greatest: &Tensor, least: f64) -> Tensor {
        // By a tensor: on a card LibTorch divides by a number as it multiplies by its inverse.
        let exact = greatest.clamp_min(least) / Tensor::full([1], MAX, (Kind::Float, greatest.device()));
        match self {
            Self::Exact => exact,
            Self::PowerOfTwo => {
                // A positive single's bits, rounded up to those of a power of two.
                const FRACTION: i64 = (1 << 23) - 1;
                let bits = exact.view_dtype(Kind::Int) + FRACTION;
                bits.bitwise_and(!FRACTION).to_kind(Kind::Int).view_dtype(Kind::Float)
            }
        }
    }
}

/// Filled up with zeros to whole tiles: `[m, ⌈k/128⌉, 128]`.
fn tiles(x: &Tensor) -> Tensor {
    let (m, k) = x.size2().expect("a matrix");
    x.constant_pad_nd([0, missing(k)]).view([m, -1, ALONG])
}

/// Filled up with zeros to whole blocks: `[⌈m/128⌉, 128, ⌈k/128⌉, 128]`.
fn blocks(x: &Tensor) -> Tensor {
    let (m, k) = x.size2().expect("a matrix");
    let (rows, columns) = (m + missing(m), k + missing(k));
    x.constant_pad_nd([0, missing(k), 0, missing(m)]).view([rows / ALONG, ALONG, columns / ALONG, ALONG])
}

/// What lacks to a multiple.
fn missing(n: i64) -> i64 {
    (ALONG - n % ALONG) % ALONG
}

/// A scale for every element of a matrix of that size.
fn spread(scales: &Tensor, scaling: Scaling, size: &[i64]) -> Tensor {
    let along = |scales: &Tensor, dim: i64| {
        scales.repeat_interleave_self_int(ALONG, dim, None::<i64>).narrow(dim, 0, size[dim as usize])
    };
    match scaling {
        Scaling::Tiles => along(scales, 1),
        Scaling::Upright => along(scales, 0),
        Scaling::Blocks => along(&along(scales, 1), 0),
    }
}
