//! E4M3: eight-bit floats (sign, four bits of exponent with bias 7, three of fraction), without infinities; arXiv
//! 2209.05433, the variant that PyTorch calls `float8_e4m3fn`.

mod blocks;

pub use blocks::{BLOCK, decode_band, encode_band, n_blocks, scale_of, scales_of_band};

use crate::eight_bits::EightBits;

const FORMAT: EightBits = EightBits { fraction: 3, bias: 7, max: 0x7E };

/// The largest number.
pub const MAX: f32 = 448.0;

/// What every code means; two of them are no number.
const VALUES: [f32; 256] = values();

/// The number that a code means; NaN for 0x7F and 0xFF.
#[inline]
pub fn decode(code: u8) -> f32 {
    VALUES[code as usize]
}

/// The nearest number's code, of two equally near the even one; larger numbers become ±448. NaN stays NaN.
#[inline]
pub fn encode(x: f32) -> u8 {
    FORMAT.encode(x)
}

const fn values() -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = match code {
            0x7F => f32::NAN,
            0xFF => -f32::NAN,
            _ => FORMAT.decode(code as u8),
        };
        code += 1;
    }
    values
}
