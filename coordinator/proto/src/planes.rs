//! What planes carried, as metrics have it.

use serde::{Deserialize, Serialize};

use crate::v1;

/// What NICs on a plane carried, all ranks together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaneBytes {
    /// Which.
    pub plane: u32,
    /// That left over it, also those that a rank passed on.
    pub bytes: u64,
    /// Ranks whose NIC does not reach all whom it should any more.
    pub n_lost: u32,
}

impl PlaneBytes {
    /// Adds those of more steps to those of some, plane by plane; `n_lost` is that of the last.
    pub fn add(sums: &mut Vec<Self>, more: &[Self]) {
        for one in more {
            match sums.iter_mut().find(|sum| sum.plane == one.plane) {
                Some(sum) => (sum.bytes, sum.n_lost) = (sum.bytes + one.bytes, one.n_lost),
                None => sums.push(*one),
            }
        }
        sums.sort_by_key(|sum| sum.plane);
    }
}

impl From<PlaneBytes> for v1::PlaneBytes {
    fn from(PlaneBytes { plane, bytes, n_lost }: PlaneBytes) -> Self {
        Self { plane, bytes, n_lost }
    }
}

impl From<v1::PlaneBytes> for PlaneBytes {
    fn from(v1::PlaneBytes { plane, bytes, n_lost }: v1::PlaneBytes) -> Self {
        Self { plane, bytes, n_lost }
    }
}
