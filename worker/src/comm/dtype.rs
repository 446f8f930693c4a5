//! What the elements of a message are.

use std::fmt;

use tch::Kind;

use super::error::CommError;

/// What the elements of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say all")]
pub enum Dtype {
    U8 = 1,
    I8,
    I16,
    I32,
    I64,
    F16,
    Bf16,
    F32,
    F64,
    Bool,
    Float8E4M3,
    Float8E5M2,
}

impl TryFrom<Kind> for Dtype {
    type Error = CommError;

    fn try_from(kind: Kind) -> Result<Self, CommError> {
        Self::ALL.into_iter().find(|dtype| dtype.kind() == kind).ok_or(CommError::CannotSend { kind })
    }
}

impl Dtype {
    pub(super) const ALL: [Self; 12] = [
        Self::U8,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::F16,
        Self::Bf16,
        Self::F32,
        Self::F64,
        Self::Bool,
        Self::Float8E4M3,
        Self::Float8E5M2,
    ];

    /// LibTorch's name of it.
    pub fn kind(self) -> Kind {
        match self {
            Self::U8 => Kind::Uint8,
            Self::I8 => Kind::Int8,
            Self::I16 => Kind::Int16,
            Self::I32 => Kind::Int,
            Self::I64 => Kind::Int64,
            Self::F16 => Kind::Half,
            Self::Bf16 => Kind::BFloat16,
            Self::F32 => Kind::Float,
            Self::F64 => Kind::Double,
            Self::Bool => Kind::Bool,
            Self::Float8E4M3 => Kind::Float8e4m3fn,
            Self::Float8E5M2 => Kind::Float8e5m2,
        }
    }

    /// Bytes of one element.
    pub fn n_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool | Self::Float8E4M3 | Self::Float8E5M2 => 1,
            Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::Float8E4M3 => "float8 e4m3",
            Self::Float8E5M2 => "float8 e5m2",
        })
    }
}
