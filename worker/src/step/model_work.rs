//! The model does a rank's pieces: one match over passes.

use std::collections::HashMap;

use ds_model::{
    ExpertExchange, Gradients, LossWeights, Microbatch, Saved, StageForward, StageInput, StageModel, Turn, WeightWork,
};
use ds_plan::schedule::{self, Pass, Piece, StageId};
use tch::Tensor;

use super::executor::{Pipeline, Worker};
use super::ledger::Ledger;
use super::statistics::Statistics;
use crate::error::RankError;

/// The work of one step on the stages of a rank.
pub struct ModelWork<'a> {
    model: &'a StageModel,
    /// Experts of other ranks.
    exchange: &'a dyn ExpertExchange,
    ledger: &'a Ledger,
    /// Of this rank, in the order of the model.
    stages: Vec<StageId>,
    microbatches: &'a [Microbatch],
    weights: &'a LossWeights,
    gradients: &'a mut Gradients,
    /// Forward has run, backward has not.
    live: HashMap<(StageId, schedule::Microbatch), Saved>,
    /// Input gradients are made, those of weights are not.
    left: HashMap<(StageId, schedule::Microbatch), WeightWork>,
    statistics: Statistics,
}

impl<'a> ModelWork<'a> {
    /// Of `microbatches`, on the rank's stages of `pipeline`; gradients will add up in `gradients`.
    pub fn new(
        (model, pipeline): (&'a StageModel, &Pipeline<'_>),
        (microbatches, weights): (&'a [Microbatch], &'a LossWeights),
        gradients: &'a mut Gradients,
        (exchange, ledger): (&'a dyn ExpertExchange, &'a Ledger),
    ) -> Self {
        let (live, left, statistics) = Default::default();
        Self {
            model,
            exchange,
            ledger,
            stages: pipeline.stages(),
            microbatches,
            weights,
            gradients,
            live,
            left,
            statistics,
        }
    }

    /// Losses and loads of what was done.
    pub fn statistics(self) -> Statistics {
        self.statistics
    }

    /// The place of a forward piece among the rank's stages, and its input.
    fn input(&self, piece: Piece, received: Option<Tensor>) -> (usize, StageInput<'a>) {
        let place = self.stages.iter().position(|&stage| stage == piece.stage).expect("a stage of this rank");
        (place, StageInput { microbatch: &self.microbatches[piece.microbatch.0 as usize], hidden: received })
    }

    fn keep(&mut self, piece: Piece, forward: StageForward) -> Option<Tensor> {
        self.statistics.add_forward(&forward);
        self.live.insert((piece.stage, piece.microbatch), forward.saved);
        forward.output
    }

    fn saved(&mut self, piece: Piece) -> Saved {
        let saved = self.live.remove(&(piece.stage, piece.microbatch));
        saved.expect("the schedule goes forward before it goes back")
    }
}

impl Worker for ModelWork<'_> {
    fn piece(&mut self, piece: Piece, received: Option<Tensor>) -> Result<Option<Tensor>, RankError> {
        Ok(match piece.pass {
            Pass::Forward => {
                let (place, input) = self.input(piece, received);
                let forward = self.model.forward_of(place, input, self.weights, self.exchange)?;
                self.keep(piece, forward)
            }
            Pass::Backward => {
                let saved = self.saved(piece);
                self.model.backward(saved, received, self.gradients, self.exchange)?
            }
            Pass::BackwardInput => {
                let saved = self.saved(piece);
                let (output, left) = self.model.backward_input(saved, received, self.gradients, self.exchange)?;
                self.left.insert((piece.stage, piece.microbatch), left);
                output
            }
            Pass::BackwardWeight => {
                let left = self.left.remove(&(piece.stage, piece.microbatch));
                left.expect("the schedule makes input gradients first").run(self.gradients)?;
                None
            }
        })
    }

    fn overlapped(
        &mut self,
        [forward, backward]: [Piece; 2],
        [stream, gradient]: [Option<Tensor>; 2],
    ) -> Result<[Option<Tensor>; 2], RankError> {
        let ((place, input), saved) = (self.input(forward, stream), self.saved(backward));
        let mut left = (backward.pass == Pass::BackwardInput).then(WeightWork::default);
        let (passed, output) = self.model.forward_beside_backward(
            (place, input, self.weights),
            (saved, gradient),
            (self.gradients, left.as_mut()),
            (self.exchange, &mut |turn| {
                self.ledger.enter(Some(match turn {
                    Turn::Forward => forward,
                    Turn::Backward => backward,
                }));
            }),
        )?;
        self.left.extend(left.map(|left| ((backward.stage, backward.microbatch), left)));
        Ok([self.keep(forward, passed), output])
    }
}
