//! What is to be done for one tensor, or for a matrix and its scales.

use super::element::Element;
use super::inventory::BAND;
use super::pull::Tensor;
use crate::record::RecordKind;

/// A tensor of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// In its file.
    pub(super) key: String,
    /// The logical name.
    pub(super) name: String,
    pub(super) kind: RecordKind,
    pub(super) element: Element,
    pub(super) shape: Vec<u64>,
}

impl Target {
    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        self.shape.iter().product::<u64>() * self.element.size() as u64
    }
}

/// How bytes become those of the other side.
#[derive(Clone, Debug)]
pub(super) enum Work<'a> {
    /// As they are.
    Copy(Tensor<'a>),
    /// Values of another type, the nearest.
    Convert { from: Tensor<'a>, element: Element },
    /// Block scales as they are, if codes can be multiplied by them.
    Scales(Tensor<'a>),
    /// Codes times scales.
    Decode { codes: Tensor<'a>, scales: Tensor<'a> },
    /// Codes and their scales, those that the matrix came with where it came with some.
    Encode { from: Tensor<'a>, element: Element, scales: Option<Tensor<'a>> },
}

impl<'a> Work<'a> {
    /// The tensors that it reads.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor<'a>> {
        let (one, other) = match self {
            Self::Copy(from) | Self::Convert { from, .. } | Self::Scales(from) => (from, None),
            Self::Decode { codes, scales } => (codes, Some(scales)),
            Self::Encode { from, scales, .. } => (from, scales.as_ref()),
        };
        std::iter::once(one).chain(other)
    }

    /// Bytes that must be in memory at once, besides blocks of any size.
    pub(super) fn memory(&self) -> u64 {
        let pieces: u64 = self.tensors().map(Tensor::whole_piece).sum();
        let band = |columns: usize, bytes: usize| (BAND * columns * bytes) as u64;
        pieces
            + match self {
                Self::Copy(_) | Self::Convert { .. } => 0,
                Self::Scales(from) => from.length(),
                // Codes, singles, and singles as bytes; or the other way.
                Self::Decode { codes, scales } => band(codes.sides().1, 1 + 4 + 4) + scales.length() * 2,
                Self::Encode { from, element, .. } => {
                    let (rows, columns) = from.sides();
                    let scales = rows.div_ceil(BAND) * columns.div_ceil(BAND) * 4 * 2;
                    band(columns, element.size() + 4 + 1) + scales as u64
                }
            }
    }
}

/// Work and what comes of it: codes and scales are two tensors, all else is one.
#[derive(Clone, Debug)]
pub(super) struct Job<'a> {
    pub(super) work: Work<'a>,
    /// Codes first.
    pub(super) targets: Vec<Target>,
}

impl Job<'_> {
    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        self.targets.iter().map(Target::length).sum()
    }
}
