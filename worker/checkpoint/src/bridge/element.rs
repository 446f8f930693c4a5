//! Types of elements on both sides of the bridge, and values between them.

use std::fmt;

use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};
use safetensors::tensor::Dtype as StoredDtype;

use crate::record::Dtype;

/// Of a tensor's element; little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Element {
    F64,
    F32,
    Bf16,
    F16,
    /// E4M3 codes; they mean nothing without block scales.
    F8,
}

impl Element {
    pub(super) fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
            Self::F8 => 1,
        }
    }

    /// As safetensors name those that the bridge reads.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "F32" => Some(Self::F32),
            "BF16" => Some(Self::Bf16),
            "F16" => Some(Self::F16),
            "F8_E4M3" => Some(Self::F8),
            _ => None,
        }
    }

    pub(super) fn stored(self) -> StoredDtype {
        match self {
            Self::F64 => StoredDtype::F64,
            Self::F32 => StoredDtype::F32,
            Self::Bf16 => StoredDtype::BF16,
            Self::F16 => StoredDtype::F16,
            Self::F8 => StoredDtype::F8_E4M3,
        }
    }

    /// As a record is kept; codes become singles.
    pub(super) fn kept(self) -> Dtype {
        match self {
            Self::F64 => Dtype::F64,
            Self::F32 | Self::F8 => Dtype::F32,
            Self::Bf16 => Dtype::BF16,
            Self::F16 => Dtype::F16,
        }
    }
}

impl From<Dtype> for Element {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F64 => Self::F64,
            Dtype::F32 => Self::F32,
            Dtype::BF16 => Self::Bf16,
            Dtype::F16 => Self::F16,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
            Self::F8 => "F8_E4M3",
        })
    }
}

/// Bytes as singles. A double loses what a single cannot hold; all others are exact.
///
/// # Panics
/// For codes, which are no values without scales.
pub(super) fn to_singles(bytes: &[u8], from: Element, values: &mut Vec<f32>) {
    values.clear();
    match from {
        Element::F64 => values.extend(parts(bytes).map(|eight| f64::from_le_bytes(eight) as f32)),
        Element::F32 => values.extend(parts(bytes).map(f32::from_le_bytes)),
        Element::Bf16 => values.extend(parts(bytes).map(|two| bf16::from_le_bytes(two).to_f32())),
        Element::F16 => {
            let halves: Vec<f16> = parts(bytes).map(f16::from_le_bytes).collect();
            values.resize(halves.len(), 0.0);
            halves.convert_to_f32_slice(values);
        }
        Element::F8 => unreachable!("codes are decoded by bands"),
    }
}

/// Singles as bytes, each rounded to the nearest even.
///
/// # Panics
/// For codes, which need scales.
pub(super) fn to_bytes(values: &[f32], to: Element, bytes: &mut Vec<u8>) {
    bytes.clear();
    match to {
        Element::F64 => bytes.extend(values.iter().flat_map(|x| f64::from(*x).to_le_bytes())),
        Element::F32 => {
            bytes.resize(values.len() * 4, 0);
            for (four, x) in bytes.chunks_exact_mut(4).zip(values) {
                four.copy_from_slice(&x.to_le_bytes());
            }
        }
        Element::Bf16 => {
            bytes.resize(values.len() * 2, 0);
            for (two, x) in bytes.chunks_exact_mut(2).zip(values) {
                two.copy_from_slice(&bf16::from_f32(*x).to_le_bytes());
            }
        }
        Element::F16 => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            bytes.extend(halves.iter().flat_map(|x| x.to_le_bytes()));
        }
        Element::F8 => unreachable!("codes are made by bands"),
    }
}

fn parts<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.chunks_exact(N).map(|part| part.try_into().expect("it has N bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_way_through_singles() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for element in [Element::Bf16, Element::F16] {
            let (mut values, mut again) = (Vec::new(), Vec::new());
            to_singles(&bytes, element, &mut values);
            to_bytes(&values, element, &mut again);
            let pairs = bytes.chunks_exact(2).zip(again.chunks_exact(2)).zip(&values);
            assert!(pairs.clone().count() == 1 << 16 && pairs.into_iter().all(|((a, b), x)| a == b || x.is_nan()));
        }
    }
}
