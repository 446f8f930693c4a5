//! Numbers that look like chance and are the same in every run, for tests.

pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// From 0 to one less than `n`.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % n
    }

    /// Tokens of so many experts, some of them hot.
    pub(super) fn loads(&mut self, n: u32) -> Vec<u64> {
        let mut one = || u64::from(self.below(1000)) * if self.below(8) == 0 { 10 } else { 1 };
        (0..n).map(|_| one()).collect()
    }
}
