//! Tensors to E4M3 codes and scales, and back.

use tch::{Kind, Tensor};

use crate::cuda;

/// Elements along a side of a tile or block.
pub const ALONG: i64 = 128;
/// The greatest E4M3 number.
const MAX: f64 = 448.0;
/// No scale is made for less than this, so that zeros have one.
const SMALLEST: f64 = 1e-4;

/// How a scale follows from the greatest element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleRule {
    /// max(greatest, 10⁻⁴) / 448.
    Exact,
    /// The next power of two that is not less, so that scaling rounds nothing.
    PowerOfTwo,
}

/// What shares a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// 128 neighbours of a row.
    Tiles,
    /// 128 × 128 neighbours.
    Blocks,
}

/// A matrix in E4M3. Edges that fill no tile or block have a scale of their own.
#[derive(Debug)]
pub struct Quantised {
    /// `[m, k]` of `float8_e4m3fn`.
    pub codes: Tensor,
    /// FP32: `[m, ⌈k/128⌉]` for tiles, `[⌈m/128⌉, ⌈k/128⌉]` for blocks; element = code · scale.
    pub scales: Tensor,
    /// What shares a scale.
    pub scaling: Scaling,
}

/// Codes of `x`, `[m, k]`: element / scale in FP32, to the nearest E4M3 number, of two equally near the even one.
///
/// # Panics
/// When CUDA refuses, as LibTorch's operations do.
pub fn quantise(x: &Tensor, scaling: Scaling, rule: ScaleRule) -> Quantised {
    if cuda::takes(x) {
        return cuda::quantise(x, scaling, rule).unwrap_or_else(|error| panic!("{error}"));
    }
    let x = x.to_kind(Kind::Float);
    let greatest = match scaling {
        Scaling::Tiles => tiles(&x).abs().amax([-1_i64].as_slice(), false),
        Scaling::Blocks => blocks(&x).abs().amax([1_i64, 3].as_slice(), false),
    };
    let scales = rule.scales(&greatest);
    let codes = (&x / spread(&scales, scaling, &x.size())).to_kind(Kind::Float8e4m3fn);
    Quantised { codes, scales, scaling }
}

impl Quantised {
    /// Code · scale, in FP32.
    pub fn dequantise(&self) -> Tensor {
        self.codes.to_kind(Kind::Float) * spread(&self.scales, self.scaling, &self.codes.size())
    }

    /// Handles to the same tensors.
    pub fn shallow_clone(&self) -> Self {
        Self { codes: self.codes.shallow_clone(), scales: self.scales.shallow_clone(), scaling: self.scaling }
    }
}

impl ScaleRule {
    fn scales(self, greatest: &Tensor) -> Tensor {
        let exact = greatest.clamp_min(SMALLEST) / MAX;
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
    let columns = scales.repeat_interleave_self_int(ALONG, 1, None::<i64>).narrow(1, 0, size[1]);
    match scaling {
        Scaling::Tiles => columns,
        Scaling::Blocks => columns.repeat_interleave_self_int(ALONG, 0, None::<i64>).narrow(0, 0, size[0]),
    }
}
