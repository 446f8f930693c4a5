//! E5M2: eight-bit floats (sign, five bits of exponent with bias 15, two of fraction), with infinities; arXiv 2209.05433.
//! It is the upper byte of a half-precision number.

/// The largest number.
pub const MAX: f32 = 57_344.0;
/// Below it numbers are evenly spaced.
const SMALLEST_NORMAL: f32 = 1.0 / 16_384.0;
/// A single with this value has a last place of 2⁻¹⁶, which is the space between the smallest numbers.
const SPACED_AS_SMALLEST: f32 = 128.0;
/// The exponents' biases of a single and of E5M2.
const BIAS_DIFFERENCE: u32 = 127 - 15;
/// Bits of fraction that a single has more.
const SHIFT: u32 = 23 - 2;

/// The number that a code means.
pub fn decode(code: u8) -> f32 {
    let (exponent, fraction) = (u32::from(code >> 2) & 31, u32::from(code) & 3);
    let size = match (exponent, fraction) {
        (31, 0) => f32::INFINITY,
        (31, _) => f32::NAN,
        (0, _) => fraction as f32 / 65_536.0,
        _ => f32::from_bits(((exponent + BIAS_DIFFERENCE) << 23) | (fraction << SHIFT)),
    };
    if code & 0x80 == 0 { size } else { -size }
}

/// The nearest number's code, of two equally near the even one; larger numbers become the largest. NaN stays NaN.
pub fn encode(x: f32) -> u8 {
    let sign = (x.to_bits() >> 24) as u8 & 0x80;
    let size = x.abs();
    let code = if size < SMALLEST_NORMAL {
        // The addition rounds to the last place, nearest even.
        (size + SPACED_AS_SMALLEST).to_bits() - SPACED_AS_SMALLEST.to_bits()
    } else if size < MAX {
        let bits = size.to_bits();
        let half = (1 << (SHIFT - 1)) - 1 + ((bits >> SHIFT) & 1);
        ((bits + half) >> SHIFT) - (BIAS_DIFFERENCE << 2)
    } else if size.is_nan() {
        0x7F
    } else {
        0x7B
    };
    sign | code as u8
}
