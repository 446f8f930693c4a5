//! The state of a rank between the threads that touch it: one lock, effects carried out when it is free again.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ds_plan::{GroupId, RankId};
use tch::{Tensor, no_grad};

use super::clock::now;
use super::error::{CommError, Failure, Reason};
use super::operation::Start;
use super::signature::Op;
use super::state::{Effect, OperationId, State};
use super::transport::{Behind, Message, PlaneTraffic, Transport};
use super::wire::{Cause, Notice};

/// For peers to start what this rank still owes them an answer to. On a busy machine they may be that late.
const CLOSE_GRACE: Duration = Duration::from_secs(30);

pub(super) struct Shared {
    rank: RankId,
    n_ranks: usize,
    state: Mutex<State>,
    changed: Condvar,
    transport: Box<dyn Transport>,
}

impl Shared {
    pub(super) fn new(rank: RankId, n_ranks: usize, transport: Box<dyn Transport>) -> Self {
        let state = Mutex::new(State::new(rank));
        Self { rank, n_ranks, state, changed: Condvar::new(), transport }
    }

    pub(super) fn rank(&self) -> RankId {
        self.rank
    }

    pub(super) fn n_ranks(&self) -> usize {
        self.n_ranks
    }

    /// Why a group fails, as an operation reports it that names the group otherwise.
    pub(super) fn failure(&self, group: (GroupId, GroupId), op: Op, sequence: u64) -> Option<CommError> {
        self.lock().failure(group, op, sequence)
    }

    pub(super) fn plane(&self) -> Option<PlaneTraffic> {
        self.transport.plane()
    }

    pub(super) fn join(&self, group: GroupId, ranks: &[RankId]) {
        self.with(|state, _| state.join(group, ranks));
    }

    pub(super) fn start(&self, start: Start) -> OperationId {
        self.with(|state, effects| state.start(start, effects))
    }

    pub(super) fn wait(&self, operation: OperationId, deadline: Instant) -> Result<Vec<Tensor>, CommError> {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.take_result(operation) {
                return result;
            }
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                return Err(state.timeout(operation));
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn is_done(&self, operation: OperationId) -> bool {
        self.lock().is_done(operation)
    }

    pub(super) fn abandon(&self, operation: OperationId) {
        self.lock().abandon(operation);
    }

    pub(super) fn abort(&self, group: GroupId, reason: String) {
        let cause = Cause::Failed(Failure { rank: self.rank, reason: Reason::Aborted(reason) });
        self.with(|state, effects| state.fail_group(group, cause, true, effects));
    }

    /// A message came.
    pub(super) fn on_message(&self, message: Message) {
        self.with(|state, effects| state.on_message(message, effects));
    }

    /// A peer told of a failure.
    pub(super) fn on_notice(&self, from: RankId, notice: Notice) {
        self.with(|state, effects| state.on_notice(from, notice, effects));
    }

    /// A peer left in order; what still needs it fails.
    pub(super) fn on_goodbye(&self, from: RankId) {
        self.with(|state, effects| state.on_goodbye(from, effects));
    }

    /// A peer is gone, or cannot be understood.
    pub(super) fn on_failure(&self, rank: RankId, reason: Reason) {
        let cause = Cause::Failed(Failure { rank, reason });
        self.with(|state, effects| state.fail_peer(rank, cause, true, effects));
    }

    /// Whether a rank has left, or is known to have failed.
    pub(super) fn is_gone(&self, rank: RankId) -> bool {
        self.lock().is_gone(rank)
    }

    /// Whether this rank has closed its endpoint, or lost it.
    pub(super) fn has_left(&self) -> bool {
        self.lock().has_left()
    }

    /// Leaves in order.
    pub(super) fn close(&self) {
        let until = now() + CLOSE_GRACE;
        let mut state = self.lock();
        while state.owes() {
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.leave();
        drop(state);
        self.changed.notify_all();
        self.transport.close();
    }

    /// Leaves for a reason, unless it has left.
    pub(super) fn desert(&self, reason: Reason) {
        let deserted = self.with(|state, effects| state.desert(reason, effects));
        if deserted {
            self.transport.cut();
        }
    }

    /// Changes the state, then carries out what follows. Delivery to a peer may come back to this rank on the same
    /// thread, so the lock is not held meanwhile.
    fn with<R>(&self, change: impl FnOnce(&mut State, &mut VecDeque<Effect>) -> R) -> R {
        let mut effects = VecDeque::new();
        let mut state = self.lock();
        let result = change(&mut state, &mut effects);
        if effects.is_empty() {
            drop(state);
        } else {
            state.begin_effects();
            drop(state);
            // Results and failures that stand do not wait for what is sent on.
            self.changed.notify_all();
            while let Some(effect) = effects.pop_front() {
                self.carry_out(effect, &mut effects);
            }
            self.lock().end_effects();
        }
        self.changed.notify_all();
        result
    }

    fn carry_out(&self, effect: Effect, effects: &mut VecDeque<Effect>) {
        match effect {
            Effect::Send { to, message } => {
                if let Err(Behind { n_bytes }) = self.transport.send(to, message) {
                    let cause = Cause::Failed(Failure { rank: to, reason: Reason::Behind { n_bytes } });
                    self.lock().fail_peer(to, cause, true, effects);
                }
            }
            Effect::Notify { to, notice } => self.transport.notify(to, &notice),
            Effect::Run { operation, then, payloads } => {
                let next = no_grad(|| then(payloads));
                self.lock().resume(operation, next, effects);
                self.changed.notify_all();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
