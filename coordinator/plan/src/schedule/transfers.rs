//! Sends and receives, derived from the actions by one function that executor, simulator and deadlock check share.

use super::{Pass, Piece, Placement, StageId};

/// What crosses between neighbouring stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Forward: the residual stream.
    Activation,
    /// Backward: its gradient.
    Gradient,
}

/// The other end of a transfer. When it is the piece's own coordinate, nothing is sent: the tensor is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The neighbouring stage.
    pub stage: StageId,
    /// The coordinate that holds it for this microbatch.
    pub pipeline: u32,
    /// What is passed.
    pub payload: Payload,
}

/// What a piece needs from a neighbour before it starts, and what it gives to one when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Received from there before the piece.
    pub receive: Option<Peer>,
    /// Sent there after the piece.
    pub send: Option<Peer>,
}

/// The transfers of a piece.
pub fn transfers(piece: Piece, placement: Placement) -> Transfer {
    let peer = |stage: Option<u32>, payload| {
        let stage = StageId(stage.filter(|&stage| stage < placement.n_stages())?);
        Some(Peer { stage, pipeline: placement.holder(stage, piece.microbatch), payload })
    };
    let (before, after) = (piece.stage.0.checked_sub(1), piece.stage.0.checked_add(1));
    match piece.pass {
        Pass::Forward => {
            Transfer { receive: peer(before, Payload::Activation), send: peer(after, Payload::Activation) }
        }
        Pass::Backward | Pass::BackwardInput => {
            Transfer { receive: peer(after, Payload::Gradient), send: peer(before, Payload::Gradient) }
        }
        Pass::BackwardWeight => Transfer { receive: None, send: None },
    }
}
