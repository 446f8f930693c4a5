//! Walks a rank's actions: receives what a piece needs, has it done, passes on what it gives.

use std::time::Instant;

use ds_plan::schedule::{Action, Peer, Piece, Placement, StageId, transfers};
use tch::{Device, Kind, Tensor};

use super::ledger::Ledger;
use super::mail::Mail;
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
    pub(super) fn stages(&self) -> Vec<StageId> {
        self.placement.stages_at(self.group.index() as u32)
    }

    /// To whom a piece gives something.
    pub(super) fn sends(&self, piece: Piece) -> Option<Peer> {
        transfers(piece, self.placement).send
    }
}

/// Who does the pieces: the model, or what stands for it in a benchmark.
pub trait Worker {
    /// Does a piece with what came for it, and gives what goes on.
    ///
    /// # Errors
    /// When a peer fails or LibTorch refuses.
    fn piece(&mut self, piece: Piece, received: Option<Tensor>) -> Result<Option<Tensor>, RankError>;

    /// Does two pieces, a forward one first, so that the communication of each hides behind the other; gives what goes on
    /// of both. It enters them into the ledger itself, turn by turn.
    ///
    /// # Errors
    /// Likewise.
    fn overlapped(
        &mut self,
        pieces: [Piece; 2],
        received: [Option<Tensor>; 2],
    ) -> Result<[Option<Tensor>; 2], RankError>;
}

/// What a rank needs to walk its actions.
pub struct Executor<'a> {
    /// Where its stages stand.
    pub pipeline: Pipeline<'a>,
    /// Where its time goes.
    pub ledger: &'a Ledger,
    /// Of the stream between stages: b, t, d.
    pub stream: ([i64; 3], Kind, Device),
    /// When to give up on a peer.
    pub deadline: Instant,
}

impl Executor<'_> {
    /// Has all actions of a step done.
    ///
    /// # Errors
    /// When a peer fails, or as the worker says.
    pub fn run(&self, worker: &mut dyn Worker) -> Result<(), RankError> {
        let mut mail = Mail::open(&self.pipeline, &self.stream, self.ledger, self.deadline);
        for &action in (self.pipeline.actions)(self.pipeline.group.index() as u32) {
            match action {
                Action::One(piece) => {
                    let received = mail.receive(piece)?;
                    self.ledger.enter(Some(piece));
                    let output = worker.piece(piece, received)?;
                    self.ledger.enter(None);
                    mail.send(piece, output);
                }
                Action::Overlapped { forward, backward } => {
                    let pieces = [forward, backward];
                    let received = [mail.receive(forward)?, mail.receive(backward)?];
                    let outputs = worker.overlapped(pieces, received)?;
                    self.ledger.enter(None);
                    pieces.into_iter().zip(outputs).for_each(|(piece, output)| mail.send(piece, output));
                }
            }
        }
        mail.close()
    }
}
