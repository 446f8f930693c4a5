//! What one rank receives from another. A receive keeps a stream busy from its start, so it starts when somebody waits for
//! it, and all that were asked for before it do too: messages come in the order of their sender.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};

use tch::{Kind, Tensor};

use super::super::error::CommError;
use super::super::signature::Op;
use super::card_group::{CardGroup, Flight};

/// A receive that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in super::super) struct Asked(u64);

/// Receives of one pair of ranks, in order.
#[derive(Default)]
pub(super) struct Receives {
    next: u64,
    asked: VecDeque<(Asked, Vec<i64>, Kind)>,
    started: HashMap<Asked, (Arc<Flight>, Tensor)>,
}

impl CardGroup {
    /// Asks for what comes next.
    pub(in super::super) fn ask(&self, shape: &[i64], kind: Kind) -> Asked {
        let mut receives = self.receives.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = Asked(receives.next);
        receives.next += 1;
        receives.asked.push_back((asked, shape.to_vec(), kind));
        asked
    }

    /// Starts it, and what was asked for before it.
    pub(in super::super) fn come(&self, asked: Asked) -> Result<(Arc<Flight>, Tensor), CommError> {
        let mut receives = self.receives.lock().unwrap_or_else(PoisonError::into_inner);
        while receives.asked.front().is_some_and(|(first, ..)| *first <= asked) {
            let Some((first, shape, kind)) = receives.asked.pop_front() else { break };
            let started = self.receive(&shape, kind)?;
            receives.started.insert(first, started);
        }
        let come = receives.started.remove(&asked);
        come.ok_or_else(|| self.group.on_card(Op::Send, asked.0, "it failed before".to_owned()))
    }
}
