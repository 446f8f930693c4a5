//! What a checkpoint holds: tensors by logical name and kind, each in one or more pieces.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What a tensor is to its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordKind {
    /// The master weight.
    Weight,
    /// The optimizer's first moment.
    Moment1,
    /// The optimizer's second moment.
    Moment2,
    /// The moving average of the master weight.
    Ema,
    /// A gate's bias, which balances loads and has no gradient.
    Bias,
    /// The scales of the FP8 blocks that a weight came as, so that it can go as the same bytes; training drops them.
    Scale,
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weight => "weight",
            Self::Moment1 => "moment1",
            Self::Moment2 => "moment2",
            Self::Ema => "ema",
            Self::Bias => "bias",
            Self::Scale => "scale",
        })
    }
}

/// Of an element, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE single.
    F32,
    /// IEEE double.
    F64,
    /// The upper half of a single.
    BF16,
    /// IEEE half.
    F16,
}

impl Dtype {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::BF16 | Self::F16 => 2,
        }
    }
}

/// One logical tensor. Invariant, once a [`crate::Checkpoint`] holds it: the pieces cover it exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The logical name.
    pub name: String,
    /// What it is to its parameter.
    pub kind: RecordKind,
    /// Of every element.
    pub dtype: Dtype,
    /// Of the whole tensor.
    pub shape: Vec<u64>,
    /// Where it lies.
    pub pieces: Vec<Piece>,
}

/// A box of a tensor, row-major in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Half open, one a dimension.
    #[serde(with = "pairs")]
    pub range: Vec<Range<u64>>,
    /// In the checkpoint's folder.
    pub file: String,
    /// From the start of the file, in bytes.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
    /// blake3 of the bytes, in hexadecimal digits.
    pub checksum: String,
}

/// As people and messages name a record.
pub(crate) fn label(kind: RecordKind, name: &str) -> String {
    format!("{kind} of {name}")
}

/// The name of a piece in its safetensors file: `weight:embed.weight`, and `[0:2,4:8]` behind it if it is not whole.
pub(crate) fn key(kind: RecordKind, name: &str, shape: &[u64], range: &[Range<u64>]) -> String {
    if shape.iter().zip(range).all(|(&size, range)| *range == (0..size)) {
        return format!("{kind}:{name}");
    }
    let ranges: Vec<String> = range.iter().map(|range| format!("{}:{}", range.start, range.end)).collect();
    format!("{kind}:{name}[{}]", ranges.join(","))
}

/// Ranges as `[[start, end], ..]`.
pub(crate) mod pairs {
    use std::ops::Range;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ptr_arg, reason = "serde hands over the field as it is")]
    pub(crate) fn serialize<S: Serializer>(ranges: &Vec<Range<u64>>, to: S) -> Result<S::Ok, S::Error> {
        ranges.iter().map(|range| [range.start, range.end]).collect::<Vec<_>>().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Range<u64>>, D::Error> {
        let pairs = Vec::<[u64; 2]>::deserialize(from)?;
        Ok(pairs.into_iter().map(|[start, end]| start..end).collect())
    }
}
