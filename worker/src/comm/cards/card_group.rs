//! A group on cards: operations in order, each kept until it has ended, and the first failure.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ds_plan::GroupId;
use tch::{Device, Tensor};

use super::super::clock::{now, pause};
use super::super::error::CommError;
use super::super::group::Group;
use super::super::signature::{Op, Signature};
use super::receives::Receives;
use super::{Cards, Channel, Mark, Move};

/// Between two looks whether the library has taken what it was given.
const PAUSE: Duration = Duration::from_micros(20);
/// The group by which members say where they are when something hangs, beside the group itself.
const CONTROL: u32 = 1 << 31;

/// The cards of a group's members.
pub(in super::super) struct CardGroup {
    channel: Box<dyn Channel>,
    /// The same members by messages.
    pub(super) control: Group,
    /// Whose operations they are, by messages.
    pub(super) group: Group,
    /// An operation that takes longer has failed.
    pub(super) longest: Duration,
    state: Mutex<State>,
    pub(super) receives: Mutex<Receives>,
}

#[derive(Default)]
struct State {
    next: u64,
    flights: VecDeque<Arc<Flight>>,
    failed: Option<CommError>,
}

/// An operation under way.
pub(in super::super) struct Flight {
    pub(super) op: Op,
    pub(super) sequence: u64,
    pub(super) signature: Signature,
    pub(super) since: Instant,
    mark: Box<dyn Mark>,
    /// Memory that the library reads and writes.
    _tensors: Mutex<Vec<Tensor>>,
}

impl Flight {
    pub(in super::super) fn has_ended(&self) -> bool {
        self.mark.has_passed().unwrap_or(true)
    }
}

impl CardGroup {
    /// Joins the cards of `group`; every member calls it.
    pub(super) fn join(group: &Group, cards: &dyn Cards, longest: Duration) -> Result<Self, CommError> {
        let deadline = now() + longest;
        let refused = |reason: String| group.on_card(Op::Barrier, 0, reason);
        let own = if group.index() == 0 { cards.id() } else { Ok(Vec::new()) };
        // Whoever cannot go on says so, so that nobody waits.
        let told = own.as_ref().map_or_else(|reason| [&[1], reason.as_bytes()].concat(), |id| [&[0], &id[..]].concat());
        let told = group.all_gather_bytes(&told).wait(deadline)?;
        let id = match told[0].split_first() {
            Some((0, id)) => id,
            Some((_, reason)) => return Err(refused(String::from_utf8_lossy(reason).into_owned())),
            None => return Err(refused("the first member says nothing".to_owned())),
        };
        let channel = cards.join(id, group.size(), group.index()).map_err(refused)?;
        let control = group.beside(GroupId(group.id().0 | CONTROL));
        let state = Mutex::default();
        let receives = Mutex::default();
        let joined = Self { channel, control, group: group.clone(), longest, state, receives };
        joined.until_ready((Op::Barrier, 0), deadline).inspect_err(|_| joined.channel.abort())?;
        Ok(joined)
    }

    /// Where its tensors lie.
    pub(super) fn device(&self) -> Device {
        self.channel.device()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing works any more, if that is so.
    pub(in super::super) fn failure(&self) -> Option<CommError> {
        self.lock().failed.clone()
    }

    fn until_ready(&self, (op, sequence): (Op, u64), deadline: Instant) -> Result<(), CommError> {
        let refused = |reason: String| self.group.on_card(op, sequence, reason);
        while !self.channel.is_ready().map_err(refused)? {
            if let Some(error) = self.group.failure(op, sequence) {
                return Err(error);
            }
            if now() > deadline {
                return Err(refused(format!("the library did not take it within {} s", self.longest.as_secs_f64())));
            }
            pause(PAUSE);
        }
        Ok(())
    }

    fn number(&self) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        state.next - 1
    }

    /// Starts an operation; `tensors` must live until it has ended.
    pub(super) fn start(
        &self,
        signature: Signature,
        moves: &[Move],
        tensors: Vec<Tensor>,
    ) -> Result<Arc<Flight>, CommError> {
        let (op, sequence) = (signature.op, self.number());
        if let Some(error) = self.failed_for(op, sequence).or_else(|| self.group.failure(op, sequence)) {
            return Err(error);
        }
        let refused = |reason: String| self.group.on_card(op, sequence, reason);
        let since = now();
        let started = self
            .channel
            .start(moves)
            .map_err(refused)
            .and_then(|()| self.until_ready((op, sequence), since + self.longest));
        let mark = started.and_then(|()| self.channel.mark().map_err(refused));
        // Whoever aborted it knows better why.
        let first = |error: CommError| {
            self.fail(error.clone());
            self.failed_for(op, sequence).unwrap_or(error)
        };
        let mark = mark.map_err(first)?;
        let flight = Arc::new(Flight { op, sequence, signature, since, mark, _tensors: Mutex::new(tensors) });
        self.lock().flights.push_back(Arc::clone(&flight));
        Ok(flight)
    }

    /// What the caller's stream is given next comes after the operation.
    pub(in super::super) fn hold(&self, flight: &Flight) -> Result<(), CommError> {
        let held = flight.mark.hold().map_err(|reason| self.group.on_card(flight.op, flight.sequence, reason));
        match self.failed_for(flight.op, flight.sequence) {
            Some(error) => Err(error),
            None => held,
        }
    }

    /// Why it failed, if it did, as that operation reports it.
    fn failed_for(&self, op: Op, sequence: u64) -> Option<CommError> {
        let error = self.failure()?;
        let of_peer = matches!(error, CommError::PeerFailed { .. }).then(|| self.group.failure(op, sequence));
        of_peer.flatten().or(Some(error))
    }

    /// Drops what has ended; the oldest that has not.
    pub(super) fn oldest(&self) -> Result<Option<Arc<Flight>>, CommError> {
        let mut state = self.lock();
        while let Some(first) = state.flights.front() {
            let passed = first.mark.has_passed();
            if !passed.map_err(|reason| self.group.on_card(first.op, first.sequence, reason))? {
                break;
            }
            state.flights.pop_front();
        }
        Ok(state.flights.front().cloned())
    }

    /// Whether the library has noticed anything.
    pub(super) fn library_failure(&self) -> Option<CommError> {
        let sequence = self.lock().next;
        self.channel.is_ready().err().map(|reason| self.group.on_card(Op::Barrier, sequence, reason))
    }

    /// The first failure is the last: what is under way ends, and peers hear of it by messages.
    pub(super) fn fail(&self, error: CommError) {
        {
            let mut state = self.lock();
            if state.failed.is_some() {
                return;
            }
            state.failed = Some(error.clone());
        }
        self.channel.abort();
        self.group.abort(error.to_string());
    }
}

impl Drop for CardGroup {
    fn drop(&mut self) {
        self.channel.abort();
    }
}
