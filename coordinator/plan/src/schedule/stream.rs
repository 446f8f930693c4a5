//! One of the two streams of microbatches that run through a coordinate of a folded pipeline.

use super::{Microbatch, Pass, Piece, StageId};

/// A stage of a coordinate and how far its microbatches are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    stage: StageId,
    first: u32,
    n_forward: u32,
    n_input: u32,
    n_weight: u32,
}

impl Stream {
    /// Through a stage, from the microbatch `first` on.
    pub(super) fn new(stage: StageId, first: u32) -> Self {
        Self { stage, first, n_forward: 0, n_input: 0, n_weight: 0 }
    }

    /// The next piece of a pass.
    pub(super) fn next(&mut self, pass: Pass) -> Piece {
        let place = match pass {
            Pass::Forward => self.n_forward,
            Pass::Backward | Pass::BackwardInput => self.n_input,
            Pass::BackwardWeight => self.n_weight,
        };
        self.n_forward += u32::from(pass == Pass::Forward);
        self.n_input += u32::from(matches!(pass, Pass::Backward | Pass::BackwardInput));
        self.n_weight += u32::from(matches!(pass, Pass::Backward | Pass::BackwardWeight));
        Piece { stage: self.stage, microbatch: Microbatch(self.first + place), pass }
    }

    /// Weight gradients that were put off.
    pub(super) fn n_put_off(&self) -> u32 {
        self.n_input - self.n_weight
    }
}
