//! Sends and receives, derived from the actions by one function that executor, simulator and deadlock check share.

use super::{Pass, Piece, StageId};

/// What crosses between neighbouring stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Forward: the residual stream.
    Activation,
    /// Backward: its gradient.
    Gradient,
}

/// What a piece needs from a neighbour before it starts, and what it gives to one when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Received from this stage before the piece.
    pub receive: Option<(StageId, Payload)>,
    /// Sent to this stage after the piece.
    pub send: Option<(StageId, Payload)>,
}

/// The transfers of a piece in a pipeline of `n_stages`.
pub fn transfers(piece: Piece, n_stages: u32) -> Transfer {
    let before = piece.stage.0.checked_sub(1).map(StageId);
    let after = (piece.stage.0 + 1 < n_stages).then_some(StageId(piece.stage.0 + 1));
    match piece.pass {
        Pass::Forward => Transfer {
            receive: before.map(|stage| (stage, Payload::Activation)),
            send: after.map(|stage| (stage, Payload::Activation)),
        },
        Pass::Backward | Pass::BackwardInput => Transfer {
            receive: after.map(|stage| (stage, Payload::Gradient)),
            send: before.map(|stage| (stage, Payload::Gradient)),
        },
        Pass::BackwardWeight => Transfer { receive: None, send: None },
    }
}
