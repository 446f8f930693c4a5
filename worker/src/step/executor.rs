//! Walks a rank's actions: one match. Receives what a piece needs, runs the model, sends what it gives.

use std::collections::HashMap;
use std::time::Instant;

use ds_model::{ExpertExchange, Gradients, LossWeights, Microbatch, Saved, StageInput, StageModel};
use ds_plan::schedule::{self, Action, Pass, Piece, Placement, transfers};
use tch::{Device, Kind, Tensor};

use super::ledger::{Cause, Ledger};
use super::statistics::Statistics;
use crate::comm::{Group, Pending};
use crate::error::RankError;

/// What a rank needs to walk its actions.
pub struct Executor<'a> {
    /// This rank's stage.
    pub model: &'a StageModel,
    /// All coordinates of the pipeline, in order.
    pub pipeline: &'a Group,
    /// Who holds which stage.
    pub placement: Placement,
    /// Experts of other ranks.
    pub exchange: &'a dyn ExpertExchange,
    /// Where its time goes.
    pub ledger: &'a Ledger,
    /// Of the stream between stages: b, t, d.
    pub stream: ([i64; 3], Kind, Device),
    /// When to give up on a peer.
    pub deadline: Instant,
}

impl Executor<'_> {
    /// Runs all `actions` of a step; gradients add up in `gradients`, losses and loads in the result.
    ///
    /// # Errors
    /// When a peer fails or LibTorch refuses.
    pub fn run(
        &self,
        actions: &[Action],
        microbatches: &[Microbatch],
        weights: &LossWeights,
        gradients: &mut Gradients,
    ) -> Result<Statistics, RankError> {
        let mut live: HashMap<schedule::Microbatch, Saved> = HashMap::new();
        let mut sent: Vec<Pending<()>> = Vec::new();
        let mut statistics = Statistics::default();
        for piece in actions.iter().flat_map(|action| action.pieces()) {
            let received = self.receive(piece)?;
            let output = match piece.pass {
                Pass::Forward => {
                    let microbatch = &microbatches[piece.microbatch.0 as usize];
                    let input = StageInput { microbatch, hidden: received };
                    let forward = self.model.forward(input, weights, self.exchange)?;
                    statistics.add_forward(&forward);
                    live.insert(piece.microbatch, forward.saved);
                    forward.output
                }
                Pass::Backward => {
                    let saved = live.remove(&piece.microbatch).expect("the schedule goes forward before it goes back");
                    self.model.backward(saved, received, gradients, self.exchange)?
                }
                Pass::BackwardInput | Pass::BackwardWeight => {
                    unreachable!("1F1B, the only schedule so far, has no split backward")
                }
            };
            sent.extend(self.send(piece, output));
        }
        for pending in sent {
            self.ledger.book(Cause::Pipeline, || pending.wait(self.deadline))?;
        }
        Ok(statistics)
    }

    fn receive(&self, piece: Piece) -> Result<Option<Tensor>, RankError> {
        let Some(from) = transfers(piece, self.placement).receive else { return Ok(None) };
        let (shape, kind, device) = &self.stream;
        let pending = self.pipeline.receive(from.pipeline as usize, shape, *kind);
        let received = self.ledger.book(Cause::Pipeline, || pending.wait(self.deadline))?;
        Ok(Some(received.to_device(*device)))
    }

    fn send(&self, piece: Piece, output: Option<Tensor>) -> Option<Pending<()>> {
        let to = transfers(piece, self.placement).send?;
        let output = output.expect("a stage with a neighbour gives it something");
        Some(self.pipeline.send(to.pipeline as usize, &output))
    }
}
