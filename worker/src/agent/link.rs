//! The training thread's side: orders in, reports out, and what became of the coordinator. Everything here blocks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::words::{Order, Report, Stop};

/// Why a rank has nobody to work for any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Orphaned {
    /// It was waited for in vain.
    #[error("the coordinator at {join} is gone ({reason}) and was waited for {} s", grace_seconds)]
    Gone {
        /// Its address.
        join: String,
        /// What the connection ended with.
        reason: String,
        /// What `cluster.orphan_grace` allows.
        grace_seconds: u64,
    },
    /// It does not want this rank.
    #[error("the coordinator at {join} turns this rank away: {reason}")]
    TurnedAway {
        /// Its address.
        join: String,
        /// In its words.
        reason: String,
    },
}

/// The way from the training thread to the coordinator and back.
#[derive(Debug)]
pub struct RankLink {
    rank: u32,
    attempt: u32,
    shared: Arc<Shared>,
    reports: mpsc::Sender<Report>,
}

impl RankLink {
    pub(super) fn new(rank: u32, attempt: u32, shared: Arc<Shared>, reports: mpsc::Sender<Report>) -> Self {
        Self { rank, attempt, shared, reports }
    }

    /// This rank.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// Which start of the job this is.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Waits for the coordinator's next order. A `Stop` comes here too, and is also kept for `stop_wanted`.
    ///
    /// # Errors
    /// When there is no coordinator any more.
    pub fn next_order(&self) -> Result<Order, Orphaned> {
        let mut state = self.shared.wait_while(|state| state.orders.is_empty() && state.orphaned().is_none());
        match (state.orphaned(), state.orders.pop_front()) {
            (Some(orphaned), _) => Err(orphaned),
            (None, order) => Ok(order.expect("waited for it")),
        }
    }

    /// Whether the coordinator wants this rank to stop after the current step, and how. Cheap enough for every step.
    pub fn stop_wanted(&self) -> Option<Stop> {
        self.shared.lock().stop
    }

    /// Sends a report; waits while too many are on their way. Reports of an orphan are dropped.
    pub fn report(&self, report: Report) {
        let _ = self.reports.blocking_send(report);
    }

    /// What heartbeats say about progress.
    pub fn at_step(&self, step: u64) {
        self.shared.at_step.store(step, Ordering::Relaxed);
    }

    /// Returns at once while the coordinator is there, and waits for it otherwise, as long as `cluster.orphan_grace`
    /// allows. A rank calls it between two steps.
    ///
    /// # Errors
    /// When there is no coordinator any more.
    pub fn wait_connected(&self) -> Result<(), Orphaned> {
        let state = self.shared.wait_while(|state| state.contact == Contact::Lost);
        state.orphaned().map_or(Ok(()), Err)
    }
}

/// What both sides of a rank look at. The lock is held for moments only, and never over an await.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    at_step: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// At most one of each kind, except for `Stop`, of which there are at most two.
    orders: VecDeque<Order>,
    taken: Vec<std::mem::Discriminant<Order>>,
    stop: Option<Stop>,
    contact: Contact,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Contact {
    /// The coordinator listens.
    Held,
    /// It did, or has not yet.
    Lost,
    /// It never will again.
    Orphaned(Orphaned),
}

impl State {
    fn orphaned(&self) -> Option<Orphaned> {
        match &self.contact {
            Contact::Orphaned(orphaned) => Some(orphaned.clone()),
            Contact::Held | Contact::Lost => None,
        }
    }
}

impl Shared {
    pub(super) fn new() -> Self {
        let state = State { orders: VecDeque::new(), taken: Vec::new(), stop: None, contact: Contact::Lost };
        Self { state: Mutex::new(state), changed: Condvar::new(), at_step: AtomicU64::new(0) }
    }

    pub(super) fn step(&self) -> u64 {
        self.at_step.load(Ordering::Relaxed)
    }

    /// An order has come. One that repeats an earlier one, as after a restart of the coordinator, says nothing new.
    pub(super) fn order(&self, order: Order) {
        self.change(|state| {
            let kind = std::mem::discriminant(&order);
            if let Order::Stop(stop) = &order {
                // At once is stronger than with a checkpoint, whichever comes first.
                let stronger = state.stop.is_none_or(|earlier| earlier.checkpoint && !stop.checkpoint);
                if !stronger {
                    return;
                }
                state.stop = Some(*stop);
            } else if state.taken.contains(&kind) {
                return;
            }
            state.taken.push(kind);
            state.orders.push_back(order);
        });
    }

    pub(super) fn held(&self) {
        self.contact(Contact::Held);
    }

    pub(super) fn lost(&self) {
        self.contact(Contact::Lost);
    }

    pub(super) fn orphan(&self, orphaned: Orphaned) {
        self.contact(Contact::Orphaned(orphaned));
    }

    fn contact(&self, contact: Contact) {
        self.change(|state| {
            // An orphan stays one.
            if state.orphaned().is_none() {
                state.contact = contact;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment or push, so a state that a panic left behind is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, mut waits: impl FnMut(&State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), |state| waits(state)).unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> Orphaned {
        Orphaned::Gone { join: "http://x".to_owned(), reason: "reset".to_owned(), grace_seconds: 0 }
    }

    fn link() -> (RankLink, Arc<Shared>, mpsc::Receiver<Report>) {
        let shared = Arc::new(Shared::new());
        let (reports, outbox) = mpsc::channel(2);
        (RankLink::new(3, 1, shared.clone(), reports), shared, outbox)
    }

    #[test]
    fn orders_come_in_order_and_repeated_ones_once() {
        let (link, shared, _outbox) = link();
        shared.order(Order::Go);
        shared.order(Order::Go);
        shared.order(Order::Stop(Stop { checkpoint: true }));
        assert_eq!(link.next_order(), Ok(Order::Go));
        assert_eq!(link.next_order(), Ok(Order::Stop(Stop { checkpoint: true })));
        shared.orphan(gone());
        assert_eq!(link.next_order(), Err(gone()));
    }

    #[test]
    fn a_stop_at_once_overrides_a_stop_with_checkpoint_and_not_the_other_way_round() {
        let (link, shared, _outbox) = link();
        assert_eq!(link.stop_wanted(), None);
        for (order, wanted) in [(true, true), (false, false), (true, false)] {
            shared.order(Order::Stop(Stop { checkpoint: order }));
            assert_eq!(link.stop_wanted(), Some(Stop { checkpoint: wanted }));
        }
    }

    #[test]
    fn a_thread_that_waits_learns_that_the_coordinator_is_there() {
        let (link, shared, _outbox) = link();
        let waiting = std::thread::spawn(move || link.wait_connected());
        shared.held();
        assert_eq!(waiting.join().unwrap(), Ok(()));
    }

    #[test]
    fn a_thread_that_waits_for_an_order_learns_that_none_will_come() {
        let (link, shared, _outbox) = link();
        let waiting = std::thread::spawn(move || link.next_order());
        shared.orphan(gone());
        assert_eq!(waiting.join().unwrap(), Err(gone()));
    }

    #[test]
    fn an_orphan_is_not_adopted_again() {
        let (link, shared, _outbox) = link();
        shared.held();
        assert_eq!(link.wait_connected(), Ok(()));
        shared.orphan(gone());
        shared.held();
        assert_eq!(link.wait_connected(), Err(gone()));
    }

    #[test]
    fn reports_of_an_orphan_are_dropped() {
        let (link, _shared, outbox) = link();
        drop(outbox);
        for _ in 0..100 {
            link.report(Report::Ready { resumed_step: 0 });
        }
    }
}
