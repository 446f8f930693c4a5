//! What an operation sends and awaits, phase by phase.

use ds_plan::{GroupId, RankId};
use tch::Tensor;

use super::error::CommError;
use super::payload::Payload;
use super::signature::{Op, Signature};

/// What must come from one rank before a phase has ended.
pub(super) struct Await {
    pub(super) from: RankId,
    /// Its bytes do not count where `any_length`.
    pub(super) signature: Signature,
    pub(super) any_length: bool,
}

impl Await {
    pub(super) fn exactly(from: RankId, signature: Signature) -> Self {
        Self { from, signature, any_length: false }
    }

    pub(super) fn is_met_by(&self, found: &Signature) -> bool {
        let length = if self.any_length { found.n_bytes } else { self.signature.n_bytes };
        *found == Signature { n_bytes: length, ..self.signature }
    }
}

/// What a rank gives one other.
pub(super) struct Given {
    pub(super) to: RankId,
    pub(super) signature: Signature,
    pub(super) payload: Payload,
}

/// Turns what came, in the order of `awaits`, into a result or into another phase. Runs without the lock.
pub(super) type Then = Box<dyn FnOnce(Vec<Payload>) -> Next + Send>;

/// Messages out, messages in, and what to make of them.
pub(super) struct Phase {
    pub(super) gives: Vec<Given>,
    pub(super) awaits: Vec<Await>,
    pub(super) then: Then,
}

/// What follows a phase.
pub(super) enum Next {
    Done(Result<Vec<Tensor>, CommError>),
    Phase(Phase),
}

/// How operations are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Lane {
    /// In the order in which all members start them.
    Collective,
    /// In the order of messages from one member to another.
    Pair { from: RankId, to: RankId },
}

impl Lane {
    /// That of a message.
    pub(super) fn of(op: Op, from: RankId, to: RankId) -> Self {
        if op == Op::Send { Self::Pair { from, to } } else { Self::Collective }
    }
}

/// An operation before it has a number.
pub(super) struct Start {
    pub(super) group: GroupId,
    pub(super) op: Op,
    pub(super) lane: Lane,
    /// What cannot be started has its number too, so that all members go on counting alike, but fails the group.
    pub(super) phase: Result<Phase, CommError>,
}
