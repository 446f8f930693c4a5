//! Sequences that several ranks share (context parallelism): each rank has some of the positions of every sequence. Only
//! attention looks beyond them, and of other positions it needs the compressed latents alone, which are small.
//!
//! Shapes: t positions of a whole sequence, s of them here.

use std::ops::Range;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use crate::exchange::Arrival;
use crate::rope::Rope;
use crate::{ExpertExchange, ModelError};

/// Which positions of every sequence a rank has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceShare {
    /// Of this rank.
    pub place: usize,
    /// Ranks that share a sequence.
    pub n: usize,
}

impl SequenceShare {
    /// All of them.
    pub const WHOLE: Self = Self { place: 0, n: 1 };

    /// Runs of positions of a sequence of `t`, a multiple of n: one from the front and its mirror image from the back, so
    /// that causal attention costs all ranks the same (arXiv 2407.21783, §3.3.2); where t has no 2n equal parts, one run.
    pub fn ranges(self, t: i64) -> Vec<Range<i64>> {
        let (place, n) = (self.place as i64, self.n as i64);
        let halves = if n == 1 || t % (2 * n) > 0 { 1 } else { 2 };
        let each = t / (halves * n);
        let parts = [place, 2 * n - 1 - place].into_iter().take(halves as usize);
        parts.map(|part| part * each..(part + 1) * each).collect()
    }

    /// The positions, `[s]`, ascending.
    pub fn positions(self, t: i64, device: Device) -> Tensor {
        let runs =
            self.ranges(t).into_iter().map(|run| Tensor::arange_start(run.start, run.end, (Kind::Int64, device)));
        Tensor::cat(&runs.collect::<Vec<_>>(), 0)
    }

    /// Where each of a sequence's t positions stands among those of rank after rank, `[t]`.
    pub fn order(self, t: i64, device: Device) -> Tensor {
        let of_places = (0..self.n).map(|place| Self { place, ..self }.positions(t, device));
        Tensor::cat(&of_places.collect::<Vec<_>>(), 0).argsort(0, false)
    }
}

/// Moves what attention needs between ranks that share sequences. Every rank makes the same calls in the same order.
pub trait SequenceExchange {
    /// What of a sequence is here.
    fn share(&self) -> SequenceShare;

    /// Starts to gather latents of positions here, `[b, s, w]`; gives those of all positions, `[b, t, w]`.
    ///
    /// # Errors
    /// When a peer fails.
    fn gather<'a>(&'a self, latents: &Tensor) -> Result<Arrival<'a>, ModelError>;

    /// Starts its adjoint: of gradients of all positions, `[b, t, w]`, summed over ranks, gives those of positions here,
    /// `[b, s, w]`.
    ///
    /// # Errors
    /// When a peer fails.
    fn sum_shares<'a>(&'a self, gradients: &Tensor) -> Result<Arrival<'a>, ModelError>;

    /// The sum of a small tensor over the ranks.
    ///
    /// # Errors
    /// When a peer fails.
    fn sum(&self, tensor: &Tensor) -> Result<Tensor, ModelError>;
}

/// Rotary positions of keys and of queries, and which keys queries see.
pub(crate) struct Angles {
    pub(crate) keys: Rc<Rope>,
    pub(crate) queries: Rc<Rope>,
    /// Runs of queries here; none where sequences are whole.
    pub(crate) runs: Option<Vec<Range<i64>>>,
}

impl Angles {
    /// Of whole sequences.
    pub(crate) fn whole(rope: Rc<Rope>) -> Self {
        Self { queries: rope.clone(), keys: rope, runs: None }
    }

    /// Of this share of sequences of as many positions as `rope` has.
    pub(crate) fn of(rope: Rc<Rope>, share: SequenceShare, device: Device) -> Self {
        if share == SequenceShare::WHOLE {
            return Self::whole(rope);
        }
        let t = rope.n_positions();
        let queries = Rc::new(rope.at(&share.positions(t, device).unsqueeze(0)));
        Self { queries, keys: rope, runs: Some(share.ranges(t)) }
    }
}

/// The exchange of ranks that share sequences, which forward had.
pub(crate) fn sharing(exchange: &dyn ExpertExchange) -> &dyn SequenceExchange {
    exchange.sequences().expect("backward has the exchange of forward")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(t: &Tensor) -> Vec<i64> {
        Vec::try_from(t).unwrap()
    }

    #[test]
    fn shares_are_equal_and_together_everything_once() {
        for (n, t) in [(1, 5), (2, 8), (2, 6), (3, 12), (4, 8), (4, 4)] {
            let shares: Vec<SequenceShare> = (0..n).map(|place| SequenceShare { place, n }).collect();
            let all: Vec<i64> = shares.iter().flat_map(|share| numbers(&share.positions(t, Device::Cpu))).collect();
            let order = numbers(&shares[0].order(t, Device::Cpu));
            let sorted: Vec<i64> = order.iter().map(|&place| all[place as usize]).collect();
            assert_eq!(sorted, (0..t).collect::<Vec<_>>(), "{n} ranks, {t} positions");
        }
        assert_eq!(numbers(&SequenceShare { place: 1, n: 2 }.positions(8, Device::Cpu)), [2, 3, 4, 5]);
        assert_eq!(numbers(&SequenceShare { place: 1, n: 2 }.positions(6, Device::Cpu)), [3, 4, 5]);
    }
}
