//! A hash for paths: the same on every machine, for every run.

/// Mixes numbers into one, each through the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
pub(super) fn hash<const N: usize>(numbers: [u64; N]) -> u64 {
    numbers.into_iter().fold(0, |state, number| mix(state ^ number))
}

fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
