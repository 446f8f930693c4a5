//! E5M2: eight-bit floats (sign, five bits of exponent with bias 15, two of fraction), with infinities; arXiv 2209.05433.
//! It is the upper byte of a half-precision number.

use crate::eight_bits::EightBits;

const FORMAT: EightBits = EightBits { fraction: 2, bias: 15, max: 0x7B };

/// The largest number.
pub const MAX: f32 = 57_344.0;

/// The number that a code means.
pub fn decode(code: u8) -> f32 {
    match code {
        0x7C => f32::INFINITY,
        0xFC => f32::NEG_INFINITY,
        0x7D..=0x7F => f32::NAN,
        0xFD..=0xFF => -f32::NAN,
        _ => FORMAT.decode(code),
    }
}

/// The nearest number's code, of two equally near the even one; larger numbers become the largest. NaN stays NaN.
pub fn encode(x: f32) -> u8 {
    FORMAT.encode(x)
}
