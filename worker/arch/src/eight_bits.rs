//! What eight-bit floats have in common, sign, exponent and fraction: how a single becomes one, and what a code means.

/// A format of eight-bit floats, whose exponents and fractions mean what those of IEEE 754 do, but for the largest.
pub(crate) struct EightBits {
    /// Bits of fraction.
    pub(crate) fraction: u32,
    /// The exponent's bias.
    pub(crate) bias: u32,
    /// The largest number's code.
    pub(crate) max: u8,
}

/// The sign's place in a code.
const SIGN: u8 = 0x80;
/// A code that is no number in every format.
const NOT_A_NUMBER: u8 = 0x7F;

impl EightBits {
    /// Bits of fraction that a single has more.
    const fn shift(&self) -> u32 {
        23 - self.fraction
    }

    /// The exponents' biases of a single and of this.
    const fn bias_difference(&self) -> u32 {
        127 - self.bias
    }

    /// A power of two, by what its exponent is above that of the smallest normal number.
    const fn above_smallest_normal(&self, exponent: u32) -> f32 {
        f32::from_bits((self.bias_difference() + 1 + exponent) << 23)
    }

    /// The number that a code means, if it means a finite one.
    pub(crate) const fn decode(&self, code: u8) -> f32 {
        let size = (code & !SIGN) as u32;
        let size = if size >> self.fraction == 0 {
            // Evenly spaced, as the singles that begin here have their last place.
            f32::from_bits(self.above_smallest_normal(self.shift()).to_bits() + size)
                - self.above_smallest_normal(self.shift())
        } else {
            f32::from_bits((size + (self.bias_difference() << self.fraction)) << self.shift())
        };
        if code & SIGN == 0 { size } else { -size }
    }

    /// The nearest number's code, of two equally near the even one; larger numbers become the largest. NaN stays NaN.
    #[inline(always)]
    pub(crate) fn encode(&self, x: f32) -> u8 {
        let sign = (x.to_bits() >> 24) as u8 & SIGN;
        let size = x.abs();
        let code = if size < self.above_smallest_normal(0) {
            // The addition rounds to the last place, nearest even.
            let spaced_as_smallest = self.above_smallest_normal(self.shift());
            (size + spaced_as_smallest).to_bits() - spaced_as_smallest.to_bits()
        } else if size < self.decode(self.max) {
            let bits = size.to_bits();
            let half = (1 << (self.shift() - 1)) - 1 + ((bits >> self.shift()) & 1);
            ((bits + half) >> self.shift()) - (self.bias_difference() << self.fraction)
        } else if size.is_nan() {
            NOT_A_NUMBER.into()
        } else {
            self.max.into()
        };
        sign | code as u8
    }
}
