//! The levels of a tile, and the code of a number among them.

use std::f64::consts::LN_2;

use super::Bits;

/// Levels reach down to 2⁻³² of the greatest at most, about as far as five bits of exponent do.
const FURTHEST: f64 = 32.0 * LN_2;

/// Where the border between two levels lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Midway between the numbers, as the paper found that it must: errors then have no bias.
    Linear,
    /// Midway between their logarithms; to compare with.
    Logarithmic,
}

/// The magnitudes that a tile can say: exp(least + step · (K − 1)) for K from 1 to 2ⁿ⁻¹ − 1, and zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    bits: Bits,
    /// Natural logarithm of the least magnitude but zero. NaN for a tile that holds an infinity or NaN: all of it is then
    /// decoded as NaN, so that trouble is passed on.
    pub least: f32,
    /// Between neighbours' logarithms.
    pub step: f32,
}

impl Levels {
    /// From the least to the greatest magnitude of a tile; FP32, since both travel with the codes.
    pub fn of(tile: &[f32], bits: Bits) -> Self {
        if !tile.iter().all(|x| x.is_finite()) {
            return Self::new(bits, f32::NAN, f32::NAN);
        }
        let logarithms = tile.iter().filter(|&&x| x != 0.0).map(|x| f64::from(x.abs()).ln());
        let (least, greatest) =
            logarithms.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), log| (a.min(log), b.max(log)));
        if least > greatest {
            return Self::new(bits, 0.0, 0.0);
        }
        let least = least.max(greatest - FURTHEST);
        Self::new(bits, least as f32, ((greatest - least) / f64::from(bits.greatest() - 1)) as f32)
    }

    /// As they came over the wire.
    pub fn new(bits: Bits, least: f32, step: f32) -> Self {
        Self { bits, least, step }
    }

    /// The code of a tile's element: the sign's bit, then K, or zero.
    pub fn encode(&self, x: f32, rounding: Rounding) -> u16 {
        let sign = if x.is_sign_negative() { self.bits.sign() } else { 0 };
        sign | self.level(f64::from(x.abs()), rounding)
    }

    /// What a code means.
    pub fn decode(&self, code: u16) -> f32 {
        let (sign, level) = (code & self.bits.sign(), code & self.bits.greatest());
        let size = match level {
            _ if self.least.is_nan() => f32::NAN,
            0 => 0.0,
            // The greatest single may come out a few last places larger than it is.
            _ => (self.magnitude(level) as f32).min(f32::MAX),
        };
        if sign == 0 { size } else { -size }
    }

    fn magnitude(&self, level: u16) -> f64 {
        (f64::from(self.least) + f64::from(self.step) * f64::from(level - 1)).exp()
    }

    fn level(&self, size: f64, rounding: Rounding) -> u16 {
        // Zero is a level too: what lies below the least goes to the nearer of both. In a tile without a scale, to zero.
        if size == 0.0 || self.least.is_nan() || size < self.magnitude(1) / 2.0 {
            return 0;
        }
        let step = f64::from(self.step);
        if step == 0.0 {
            return 1;
        }
        let place = (size.ln() - f64::from(self.least)) / step;
        // From the border on a number goes up. Midway between 1 and e^step lies (1 + e^step) / 2.
        let border = match rounding {
            Rounding::Linear => ((1.0 + step.exp()) / 2.0).ln() / step,
            Rounding::Logarithmic => 0.5,
        };
        let up = (place + 1.0 - border).floor();
        1 + up.clamp(0.0, f64::from(self.bits.greatest() - 1)) as u16
    }
}
