//! The order of samples: a permutation for each epoch, without a list of them.

/// Rounds of the Feistel network; four make a good permutation, more cost nothing here.
const N_ROUNDS: u64 = 8;

/// Which of `n` windows is the i-th sample. A pure function of (seed, i): nothing is kept between calls, and it does not
/// matter who asks, nor how many ranks there are.
///
/// Each epoch is a permutation of all windows, made by a Feistel network over the smallest even number of bits that
/// holds `n`; a value that lands beyond `n` is sent through again until it lands inside (cycle walking).
#[derive(Clone, Copy, Debug)]
pub struct Order {
    n: u64,
    seed: u64,
    half_bits: u32,
}

impl Order {
    /// Of `n` windows.
    ///
    /// # Panics
    /// When there is none, since then there are no samples to order.
    pub fn new(n: u64, seed: u64) -> Self {
        assert!(n > 0, "an order needs at least one window");
        let bits = u64::BITS - (n - 1).leading_zeros();
        Self { n, seed, half_bits: bits.div_ceil(2).max(1) }
    }

    /// The window that is the i-th sample; epoch `i / n` sees every window once.
    pub fn at(&self, i: u64) -> u64 {
        let epoch_key = mix(mix(self.seed) ^ (i / self.n));
        let mut value = i % self.n;
        loop {
            value = self.feistel(value, epoch_key);
            if value < self.n {
                return value;
            }
        }
    }

    fn feistel(&self, value: u64, key: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..N_ROUNDS {
            let scrambled = mix(right ^ mix(key.wrapping_add(round))) & mask;
            (left, right) = (right, left ^ scrambled);
        }
        left << self.half_bits | right
    }
}

/// SplitMix64's step and finalizer: every bit of the input changes half of the output.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(n: u64, seed: u64, epoch: u64) -> Vec<u64> {
        let order = Order::new(n, seed);
        (epoch * n..(epoch + 1) * n).map(|i| order.at(i)).collect()
    }

    #[test]
    fn every_epoch_sees_every_window_once() {
        for n in [1, 2, 3, 4, 5, 16, 17, 255, 256, 257, 1000, 4097] {
            for e in 0..3 {
                let mut seen = epoch(n, 7, e);
                seen.sort_unstable();
                assert_eq!(seen, (0..n).collect::<Vec<_>>(), "n {n}, epoch {e}");
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ_and_calls_do_not() {
        assert_eq!(epoch(1000, 7, 0), epoch(1000, 7, 0));
        assert_ne!(epoch(1000, 7, 0), epoch(1000, 7, 1));
        assert_ne!(epoch(1000, 7, 0), epoch(1000, 8, 0));
    }

    #[test]
    fn neighbours_are_torn_apart() {
        let n = 10_000;
        let order = epoch(n, 3, 0);
        let mean_step = order.windows(2).map(|pair| pair[0].abs_diff(pair[1]) as f64).sum::<f64>() / (n - 1) as f64;
        // Two independent places are a third of the row apart.
        assert!((mean_step / n as f64 - 1.0 / 3.0).abs() < 0.02, "{mean_step}");
        let kept = order.iter().enumerate().filter(|&(i, &window)| i as u64 == window).count();
        assert!(kept < 10, "{kept} windows kept their place");
    }

    #[test]
    fn a_very_long_row_is_ordered_as_fast() {
        let order = Order::new(u64::MAX - 1, 1);
        assert_ne!(order.at(0), order.at(1));
        assert!((0..1000).all(|i| Order::new(1 << 40, 1).at(i) < 1 << 40));
    }

    /// A change of this order would break every run that is resumed.
    #[test]
    fn the_order_is_what_it_was() {
        assert_eq!(epoch(10, 42, 0), [4, 2, 9, 3, 1, 6, 8, 5, 0, 7], "the order of samples changed");
    }
}
