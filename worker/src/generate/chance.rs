//! Chance as a function: nothing is kept between draws, so that it does not matter who draws, nor in which order.

/// What a number is drawn for. One position may need several, which must not know of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Draw {
    /// A token by the model's own law.
    Token = 0,
    /// A token by the law of a draft.
    Draft = 1,
    /// Whether a draft is accepted.
    Accept = 2,
}

/// Numbers that look random, each a function of (seed, sequence, position, purpose).
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    seed: u64,
}

impl Chance {
    /// All of a seed's.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// In [0, 1), for the token at `position` of the sequence of that number.
    pub fn at(self, sequence: u64, position: u64, draw: Draw) -> f64 {
        let mut hasher = blake3::Hasher::new();
        for part in [self.seed, sequence, position, draw as u64] {
            hasher.update(&part.to_le_bytes());
        }
        let hash = hasher.finalize();
        let bits = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"));
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_evenly_and_differ_in_every_part_of_their_key() {
        let chance = Chance::new(3);
        let mut bins = [0; 10];
        for i in 0..10_000 {
            bins[(chance.at(i % 100, i / 100, Draw::Token) * 10.0) as usize] += 1;
        }
        // Five standard deviations.
        assert!(bins.iter().all(|&n| (850..1150).contains(&n)), "{bins:?}");
        let first = chance.at(1, 2, Draw::Token);
        assert_eq!(first, Chance::new(3).at(1, 2, Draw::Token));
        let others = [
            Chance::new(4).at(1, 2, Draw::Token),
            chance.at(2, 2, Draw::Token),
            chance.at(2, 1, Draw::Token),
            chance.at(1, 2, Draw::Draft),
            chance.at(1, 2, Draw::Accept),
        ];
        assert!(others.iter().all(|&other| other != first), "{first} {others:?}");
    }
}
