//! Walks a rank's actions: one match. Receives what a piece needs, runs the model, passes on what it gives.

use std::collections::HashMap;
use std::time::Instant;

use ds_model::{ExpertExchange, Gradients, LossWeights, Microbatch, Saved, StageInput, StageModel};
use ds_plan::schedule::{self, Action, Pass, Peer, Piece, Placement, StageId, transfers};
use tch::{Device, Kind};

use super::ledger::Ledger;
use super::mail::Mail;
use super::statistics::Statistics;
use crate::comm::Group;
use crate::error::RankError;

/// The pipeline that a rank is part of.
pub struct Pipeline<'a> {
    /// All coordinates, in order.
    pub group: &'a Group,
    /// Who holds which stage.
    pub placement: Placement,
    /// What a coordinate does in a step.
    pub actions: &'a dyn Fn(u32) -> &'a [Action],
}

impl Pipeline<'_> {
    /// The stages of this rank, in the order of the model.
    fn stages(&self) -> Vec<StageId> {
        self.placement.stages_at(self.group.index() as u32)
    }

    /// To whom a piece gives something.
    pub(super) fn sends(&self, piece: Piece) -> Option<Peer> {
        transfers(piece, self.placement).send
    }
}

/// What a rank needs to walk its actions.
pub struct Executor<'a> {
    /// This rank's stages.
    pub model: &'a StageModel,
    /// Where they stand.
    pub pipeline: Pipeline<'a>,
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
    /// Runs all actions of a step; gradients add up in `gradients`, losses and loads in the result.
    ///
    /// # Errors
    /// When a peer fails or LibTorch refuses.
    pub fn run(
        &self,
        microbatches: &[Microbatch],
        weights: &LossWeights,
        gradients: &mut Gradients,
    ) -> Result<Statistics, RankError> {
        let stages = self.pipeline.stages();
        let mut live: HashMap<(StageId, schedule::Microbatch), Saved> = HashMap::new();
        let mut mail = Mail::open(&self.pipeline, &self.stream, self.ledger, self.deadline);
        let mut statistics = Statistics::default();
        let actions = (self.pipeline.actions)(self.pipeline.group.index() as u32);
        for piece in actions.iter().flat_map(|action| action.pieces()) {
            let received = mail.receive(piece)?;
            let output = match piece.pass {
                Pass::Forward => {
                    let place = stages.iter().position(|&stage| stage == piece.stage).expect("a stage of this rank");
                    let microbatch = &microbatches[piece.microbatch.0 as usize];
                    let input = StageInput { microbatch, hidden: received };
                    let forward = self.model.forward_of(place, input, weights, self.exchange)?;
                    statistics.add_forward(&forward);
                    live.insert((piece.stage, piece.microbatch), forward.saved);
                    forward.output
                }
                Pass::Backward => {
                    let saved = live.remove(&(piece.stage, piece.microbatch));
                    let saved = saved.expect("the schedule goes forward before it goes back");
                    self.model.backward(saved, received, gradients, self.exchange)?
                }
                Pass::BackwardInput | Pass::BackwardWeight => {
                    unreachable!("no schedule that workers run splits backward")
                }
            };
            mail.send(piece, output);
        }
        mail.close()?;
        Ok(statistics)
    }
}
