//! Numbers that look random and follow from a seed.

/// The generator of Steele, Lea and Flood (OOPSLA 2014).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another stream, for part `number` of what the seed stands for.
    pub fn part(seed: u64, number: u64) -> Self {
        let mut of_seed = Self(seed);
        Self(of_seed.next_u64() ^ Self(number).next_u64())
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between 0 and 1, neither included.
    pub fn unit(&mut self) -> f64 {
        ((self.next_u64() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// Of the standard normal distribution (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Of the standard Gumbel distribution: the largest of log-weights with such noise falls on each as often as its
    /// weight says.
    pub fn gumbel(&mut self) -> f64 {
        -(-self.unit().ln()).ln()
    }
}
