//! LogFMT: numbers as evenly spaced logarithms, for communication (arXiv 2505.09343 §3.2). Every tile of 1 × 128 has a
//! scale of its own, from its least to its greatest magnitude; the sign has a bit of its own, and zero a code.

mod levels;
mod wire;

pub use levels::{Levels, Rounding};
pub use wire::{BadLength, decode_row, encode_row, row_bytes};

/// Elements of a tile; the last one of a row may have fewer.
pub const TILE: usize = 128;

/// Bits of an element, its sign included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits(u32);

impl Bits {
    /// As many as FP8 has.
    pub const EIGHT: Self = Self(8);
    /// As good as BF16 for the combine step, says the paper.
    pub const TEN: Self = Self(10);

    /// From 3 (fewer leave no level between least and greatest) to 16 (what a code is kept in).
    pub fn new(n: u32) -> Option<Self> {
        (3..=16).contains(&n).then_some(Self(n))
    }

    /// The number of bits.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The code of the greatest magnitude, 2ⁿ⁻¹ − 1; levels are 1 to it.
    fn greatest(self) -> u16 {
        (1 << (self.0 - 1)) - 1
    }

    fn sign(self) -> u16 {
        1 << (self.0 - 1)
    }
}
