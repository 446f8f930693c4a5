//! The async side of a rank: carries orders to the training thread and its reports to the coordinator, shows that it
//! lives, and decides when a lost coordinator has been waited for long enough.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ds_plan::spec;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, sleep_until, timeout};

use super::attachment::{Contact, heartbeats, reserve};
use super::link::{Orphaned, Shared};
use super::wire::{self, ToCoordinator, ToRank};
use super::words::{Order, Report, SessionEnd};
use super::{Identity, Outcome};

/// Until the job says otherwise: a rank is started by a coordinator that is there.
const GRACE_BEFORE_CONFIGURE: Duration = Duration::from_secs(30);
/// A last report is on its way for no longer than this. The coordinator must hear a rank's own words before its node
/// tells that the process has ended, also when it lacks a core for a while.
const FLUSH_MAX: Duration = Duration::from_secs(10);

/// The async side of a rank, from its first contact to the end of its training thread.
pub(super) struct Life {
    identity: Identity,
    shared: Arc<Shared>,
    contacts: mpsc::Receiver<Contact<ToCoordinator, ToRank>>,
    reports: mpsc::Receiver<Report>,
    outbox: Outbox,
    grace: Grace,
    heartbeat: Interval,
}

/// How long a lost coordinator is waited for.
struct Grace {
    allowed: Duration,
    /// While it is lost.
    until: Option<Instant>,
    reason: String,
    is_over: bool,
}

/// What is on its way to the coordinator.
#[derive(Default)]
struct Outbox {
    /// While the coordinator is there.
    sender: Option<mpsc::Sender<ToCoordinator>>,
    waiting: VecDeque<Saying>,
    /// The newest report that asks for an order; said again to a coordinator that comes back without having answered.
    unanswered: Option<Report>,
}

enum Saying {
    Report(Report),
    End(SessionEnd),
}

impl Life {
    pub(super) fn new(
        identity: Identity,
        shared: Arc<Shared>,
        contacts: mpsc::Receiver<Contact<ToCoordinator, ToRank>>,
        reports: mpsc::Receiver<Report>,
    ) -> Self {
        let grace = Grace {
            allowed: GRACE_BEFORE_CONFIGURE,
            until: Some(Instant::now() + GRACE_BEFORE_CONFIGURE),
            reason: "it never answered".to_owned(),
            is_over: false,
        };
        Self { identity, shared, contacts, reports, outbox: Outbox::default(), grace, heartbeat: heartbeats(None) }
    }

    /// Until the training thread has ended and the coordinator knows how, or is not waited for any more.
    pub(super) async fn run(mut self, mut ended: oneshot::Receiver<SessionEnd>) -> Outcome {
        let end = loop {
            tokio::select! {
                end = &mut ended => break end.expect("the training thread always says how it ended"),
                () = self.advance() => {}
            }
        };
        self.take_last_reports().await;
        self.outbox.waiting.push_back(Saying::End(end.clone()));
        while !self.grace.is_over && !self.outbox.is_empty() {
            self.advance().await;
        }
        let is_known = !self.grace.is_over;
        if is_known {
            self.flush().await;
        }
        Outcome { end, is_known }
    }

    /// Waits for the next thing that happens and deals with it. May be dropped while it waits.
    async fn advance(&mut self) {
        let room = self.outbox.sender.clone();
        tokio::select! {
            Some(contact) = self.contacts.recv() => self.on_contact(contact),
            // One at a time, so that a training thread waits while nobody takes its reports.
            Some(report) = self.reports.recv(), if self.outbox.is_empty() => {
                self.outbox.waiting.push_back(Saying::Report(report));
            }
            Ok(permit) = reserve(room.as_ref()), if !self.outbox.is_empty() => {
                if let Some(saying) = self.outbox.next() {
                    permit.send(saying);
                }
            }
            _ = self.heartbeat.tick(), if room.is_some() => {
                // A full channel means that the coordinator hears enough of us.
                if let Some(sender) = &room {
                    let _ = sender.try_send(wire::heartbeat(self.shared.step()));
                }
            }
            () = self.grace.over() => self.orphan(Orphaned::Gone {
                join: self.identity.join.clone(),
                reason: self.grace.reason.clone(),
                grace_seconds: self.grace.allowed.as_secs(),
            }),
        }
    }

    fn on_contact(&mut self, contact: Contact<ToCoordinator, ToRank>) {
        match contact {
            Contact::Dialled(sender) => self.outbox.begin(sender, wire::register(&self.identity)),
            Contact::Attached => {
                self.grace.until = None;
                self.shared.held();
            }
            Contact::Order(order) => self.on_order(wire::order(order, &self.identity)),
            Contact::Lost(reason) => {
                self.outbox.sender = None;
                self.shared.lost();
                self.grace.until.get_or_insert_with(|| Instant::now() + self.grace.allowed);
                self.grace.reason = reason;
            }
            Contact::TurnedAway(reason) => {
                self.outbox.sender = None;
                self.orphan(Orphaned::TurnedAway { join: self.identity.join.clone(), reason });
            }
        }
    }

    fn on_order(&mut self, order: Order) {
        if let Order::Configure(configure) = &order {
            self.grace.allowed = configure.orphan_grace;
            self.heartbeat = heartbeats(heartbeat_timeout(&configure.spec_yaml));
        }
        self.outbox.on_order(&order);
        self.shared.order(order);
    }

    fn orphan(&mut self, orphaned: Orphaned) {
        tracing::error!("{orphaned}; this rank ends after its step");
        self.grace.is_over = true;
        self.shared.orphan(orphaned);
        // A training thread that waits for room goes on, to find out.
        self.reports.close();
        while self.reports.try_recv().is_ok() {}
    }

    /// What the training thread said before it ended.
    async fn take_last_reports(&mut self) {
        self.reports.close();
        while let Some(report) = self.reports.recv().await {
            self.outbox.waiting.push_back(Saying::Report(report));
        }
    }

    /// Ends our side of the stream; the coordinator ends its own when it has read everything.
    async fn flush(&mut self) {
        self.outbox.sender = None;
        let until_lost = async {
            while let Some(contact) = self.contacts.recv().await {
                if matches!(contact, Contact::Lost(_) | Contact::TurnedAway(_)) {
                    return;
                }
            }
        };
        let _ = timeout(FLUSH_MAX, until_lost).await;
    }
}

impl Grace {
    /// Comes when a lost coordinator has been waited for long enough, once.
    async fn over(&self) {
        match self.until {
            Some(until) if !self.is_over => sleep_until(until).await,
            _ => std::future::pending().await,
        }
    }
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A new stream: who we are, what was not answered on the old one, then what waits.
    fn begin(&mut self, sender: mpsc::Sender<ToCoordinator>, register: ToCoordinator) {
        // A new channel has room; if it is closed already, the loss of the stream is the next thing we hear.
        let _ = sender.try_send(register);
        self.sender = Some(sender);
        if let Some(report) = self.unanswered.take() {
            self.waiting.push_front(Saying::Report(report));
        }
    }

    /// What to say next.
    fn next(&mut self) -> Option<ToCoordinator> {
        Some(match self.waiting.pop_front()? {
            Saying::End(end) => wire::end(&end),
            Saying::Report(report) => {
                if matches!(report, Report::Listening { .. } | Report::Ready { .. }) {
                    self.unanswered = Some(report.clone());
                }
                wire::report(report)
            }
        })
    }

    fn on_order(&mut self, order: &Order) {
        let is_answer = matches!(
            (order, &self.unanswered),
            (Order::Connect(_), Some(Report::Listening { .. })) | (Order::Go, Some(Report::Ready { .. }))
        );
        if is_answer {
            self.unanswered = None;
        }
    }
}

/// What the job allows.
fn heartbeat_timeout(spec_yaml: &str) -> Option<Duration> {
    spec::read(spec_yaml, "job.yaml", &[]).ok().map(|job| job.spec.cluster.heartbeat_timeout)
}
