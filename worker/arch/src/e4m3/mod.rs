//! E4M3: eight-bit floats (sign, four bits of exponent with bias 7, three of fraction), without infinities; arXiv
//! 2209.05433, the variant that PyTorch calls `float8_e4m3fn`.

mod blocks;

pub use blocks::{BLOCK, decode_band, encode_band, n_blocks, scale_of, scales_of_band};

/// The largest number.
pub const MAX: f32 = 448.0;
/// Below it numbers are evenly spaced.
const SMALLEST_NORMAL: f32 = 1.0 / 64.0;
/// A single with this value has a last place of 2⁻⁹, which is the space between the smallest numbers.
const SPACED_AS_SMALLEST: f32 = 16384.0;
/// The exponents' biases of a single and of E4M3.
const BIAS_DIFFERENCE: u32 = 127 - 7;
/// Bits of fraction that a single has more.
const SHIFT: u32 = 23 - 3;

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
    let sign = (x.to_bits() >> 24) as u8 & 0x80;
    let size = x.abs();
    let code = if size < SMALLEST_NORMAL {
        // The addition rounds to the last place, nearest even.
        (size + SPACED_AS_SMALLEST).to_bits() - SPACED_AS_SMALLEST.to_bits()
    } else if size < MAX {
        let bits = size.to_bits();
        let half = (1 << (SHIFT - 1)) - 1 + ((bits >> SHIFT) & 1);
        ((bits + half) >> SHIFT) - (BIAS_DIFFERENCE << 3)
    } else if size.is_nan() {
        0x7F
    } else {
        0x7E
    };
    sign | code as u8
}

const fn values() -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        let (sign, exponent, fraction) = ((code as u32 >> 7) << 31, (code as u32 >> 3) & 15, code as u32 & 7);
        let size = match (exponent, fraction) {
            (15, 7) => f32::NAN,
            (0, _) => fraction as f32 / 512.0,
            _ => f32::from_bits(((exponent + BIAS_DIFFERENCE) << 23) | (fraction << SHIFT)),
        };
        values[code] = f32::from_bits(size.to_bits() | sign);
        code += 1;
    }
    values
}
