//! The order in which a coordinate takes microbatches through its several stages: a round of them through each stage,
//! then the next round (arXiv 2104.04473, §2.2.2). Rounds are equal, and no smaller than the pipeline if there is more
//! than one.

use super::{Action, Microbatch, Pass, Piece, StageId};

/// The rounds of one coordinate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    pipeline: u32,
    n_pipeline: u32,
    n_virtual: u32,
    n_microbatches: u32,
}

impl Rounds {
    pub(super) fn new(pipeline: u32, n_pipeline: u32, n_virtual: u32, n_microbatches: u32) -> Self {
        Self { pipeline, n_pipeline, n_virtual, n_microbatches }
    }

    /// Passes of a kind in a step.
    pub(super) fn n_passes(self) -> u32 {
        self.n_virtual * self.n_microbatches
    }

    /// Forwards before the first backward: a round through every stage but the last, and `each` more for every
    /// coordinate that follows.
    pub(super) fn warm_up(self, each: u32) -> u32 {
        let follow = self.n_pipeline - 1 - self.pipeline;
        ((self.n_virtual - 1) * self.n_each() + each * follow).min(self.n_passes())
    }

    /// The `n`-th forward.
    pub(super) fn forward(self, n: u32) -> Action {
        self.piece(n, n / self.n_each() % self.n_virtual, Pass::Forward)
    }

    /// The `n`-th backward, of a kind; it goes through the stages from the last to the first.
    pub(super) fn backward(self, n: u32, pass: Pass) -> Action {
        self.piece(n, self.n_virtual - 1 - n / self.n_each() % self.n_virtual, pass)
    }

    fn piece(self, n: u32, turn: u32, pass: Pass) -> Action {
        let round = n / (self.n_each() * self.n_virtual);
        let microbatch = Microbatch(round * self.n_each() + n % self.n_each());
        Action::One(Piece { stage: StageId(turn * self.n_pipeline + self.pipeline), microbatch, pass })
    }

    /// Microbatches of a round.
    fn n_each(self) -> u32 {
        self.n_microbatches / n_rounds(self.n_pipeline, self.n_microbatches)
    }
}

/// Rounds that the microbatches of a step are taken in: as many as hold a whole pipeline, at least one.
pub(super) fn n_rounds(n_pipeline: u32, n_microbatches: u32) -> u32 {
    (n_microbatches / n_pipeline).max(1)
}
