//! What stages pass each other: from rank to rank, or from one stage to another of the same rank.

use std::collections::HashMap;
use std::time::Instant;

use ds_plan::schedule::{Microbatch, Payload, Peer, Piece, StageId, transfers};
use tch::{Device, Kind, Tensor};

use super::executor::Pipeline;
use super::ledger::{Cause, Ledger};
use crate::comm::Pending;
use crate::error::RankError;

/// Which stage a tensor is for, of which microbatch, and which way it goes.
type Address = (StageId, Microbatch, Payload);

/// The mail of one rank in one step. Every receive is posted when the step starts, in the order in which its sender's actions
/// send; so ranks that pass several stages to each other need no further agreement.
pub(super) struct Mail<'a, 'p> {
    pipeline: &'a Pipeline<'p>,
    ledger: &'a Ledger,
    deadline: Instant,
    device: Device,
    awaited: HashMap<Address, Pending<Tensor>>,
    handed_over: HashMap<Address, Tensor>,
    sent: Vec<Pending<()>>,
}

impl<'a, 'p> Mail<'a, 'p> {
    /// Posts all receives of a step; what crosses is `[b, t, d]` of one format.
    pub(super) fn open(
        pipeline: &'a Pipeline<'p>,
        (shape, kind, device): &([i64; 3], Kind, Device),
        ledger: &'a Ledger,
        deadline: Instant,
    ) -> Self {
        let me = pipeline.group.index() as u32;
        let mut awaited = HashMap::new();
        for from in (0..pipeline.placement.n_pipeline()).filter(|&from| from != me) {
            let pieces = (pipeline.actions)(from).iter().flat_map(|action| action.pieces());
            for (to, piece) in pieces.filter_map(|piece| Some((pipeline.sends(piece)?, piece))) {
                if to.pipeline == me {
                    let pending = pipeline.group.receive(from as usize, shape, *kind);
                    awaited.insert((to.stage, piece.microbatch, to.payload), pending);
                }
            }
        }
        Self { pipeline, ledger, deadline, device: *device, awaited, handed_over: HashMap::new(), sent: Vec::new() }
    }

    /// What a piece needs from a neighbour, when it is there; none for a piece that needs nothing.
    ///
    /// # Errors
    /// When the peer fails, or the deadline passes.
    pub(super) fn receive(&mut self, piece: Piece) -> Result<Option<Tensor>, RankError> {
        let Some(Peer { payload, .. }) = transfers(piece, self.pipeline.placement).receive else { return Ok(None) };
        let address = (piece.stage, piece.microbatch, payload);
        if let Some(tensor) = self.handed_over.remove(&address) {
            return Ok(Some(tensor));
        }
        let pending = self.awaited.remove(&address).expect("a neighbour's actions send what a piece needs");
        let received = self.ledger.book(Cause::Pipeline, || pending.wait(self.deadline))?;
        Ok(Some(received.to_device(self.device)))
    }

    /// Passes on what a piece gave.
    pub(super) fn send(&mut self, piece: Piece, output: Option<Tensor>) {
        let Some(to) = self.pipeline.sends(piece) else { return };
        let output = output.expect("a stage with a neighbour gives it something");
        if to.pipeline as usize == self.pipeline.group.index() {
            self.handed_over.insert((to.stage, piece.microbatch, to.payload), output);
        } else {
            self.ledger.passed(piece, (output.numel() * output.kind().elt_size_in_bytes()) as u64);
            self.sent.push(self.pipeline.group.send(to.pipeline as usize, &output));
        }
    }

    /// Waits until all that was sent is on its way.
    ///
    /// # Errors
    /// When a peer fails.
    pub(super) fn close(self) -> Result<(), RankError> {
        for pending in self.sent {
            self.ledger.book(Cause::Pipeline, || pending.wait(self.deadline))?;
        }
        Ok(())
    }
}
