//! Walks a rank's actions: one match. Receives what a piece needs, runs the model, passes on what it gives.

use std::collections::HashMap;
use std::time::Instant;

use ds_model::{ExpertExchange, Gradients, LossWeights, Microbatch, Saved, StageInput, StageModel, WeightWork};
use ds_plan::schedule::{self, Action, Pass, Peer, Piece, Placement, StageId, transfers};
use tch::{Device, Kind, Tensor};

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
        let mut mail = Mail::open(&self.pipeline, &self.stream, self.ledger, self.deadline);
        let mut work = Work {
            model: self.model,
            exchange: self.exchange,
            stages: self.pipeline.stages(),
            microbatches,
            weights,
            gradients,
            live: HashMap::new(),
            left: HashMap::new(),
            statistics: Statistics::default(),
        };
        let actions = (self.pipeline.actions)(self.pipeline.group.index() as u32);
        for piece in actions.iter().flat_map(|action| action.pieces()) {
            let received = mail.receive(piece)?;
            let output = work.piece(piece, received)?;
            mail.send(piece, output);
        }
        mail.close()?;
        Ok(work.statistics)
    }
}

/// The work of one step.
struct Work<'a> {
    model: &'a StageModel,
    exchange: &'a dyn ExpertExchange,
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

impl Work<'_> {
    /// Does a piece with what came for it, and gives what goes on.
    fn piece(&mut self, piece: Piece, received: Option<Tensor>) -> Result<Option<Tensor>, RankError> {
        let (model, exchange) = (self.model, self.exchange);
        let at = (piece.stage, piece.microbatch);
        Ok(match piece.pass {
            Pass::Forward => {
                let place = self.stages.iter().position(|&stage| stage == piece.stage).expect("a stage of this rank");
                let microbatch = &self.microbatches[piece.microbatch.0 as usize];
                let input = StageInput { microbatch, hidden: received };
                let forward = model.forward_of(place, input, self.weights, exchange)?;
                self.statistics.add_forward(&forward);
                self.live.insert(at, forward.saved);
                forward.output
            }
            Pass::Backward => model.backward(self.saved(at), received, self.gradients, exchange)?,
            Pass::BackwardInput => {
                let saved = self.saved(at);
                let (output, left) = model.backward_input(saved, received, self.gradients, exchange)?;
                self.left.insert(at, left);
                output
            }
            Pass::BackwardWeight => {
                let left = self.left.remove(&at).expect("the schedule makes input gradients first");
                left.run(self.gradients)?;
                None
            }
        })
    }

    fn saved(&mut self, at: (StageId, schedule::Microbatch)) -> Saved {
        self.live.remove(&at).expect("the schedule goes forward before it goes back")
    }
}
