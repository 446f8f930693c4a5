//! The life of a node agent: it tells the coordinator what this node has and what its ranks do, starts and ends ranks
//! on order, and outlives a lost coordinator as long as its ranks may.

use std::collections::BTreeMap;
use std::time::Duration;

use ds_topology::Node;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, sleep_until, timeout};

use super::backlog::Backlog;
use super::crew::{Crews, Joined};
use super::nccl;
use super::process::{Process, ProcessEvent, ProcessSpec};
use super::seats::{Act, RankRun, Seats, Start};
use super::wire::{self, ToCoordinator, ToNode};
use super::{NodeConfig, NodeError};
use crate::agent::attachment::{Contact, heartbeats, reserve};
use crate::comm;

/// A coordinator that does not answer at first is waited for so long.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(10);
/// Time that ranks have to end when the agent does, before they are killed.
const END_GRACE: Duration = Duration::from_secs(5);
/// A process that a kill does not end within this hangs in the kernel; nobody waits for that.
const END_MAX: Duration = Duration::from_secs(20);
/// Last reports are on their way for no longer than this, to a coordinator that lacks a core for a while.
const FLUSH_MAX: Duration = Duration::from_secs(10);
/// Events of processes that wait for the agent; when they are full, ranks' prints wait.
const EVENTS_MAX: usize = 256;
/// Reports on their way to a coordinator that is there; when there are more, ranks' prints wait too.
const WAITING_MAX: usize = 256;
/// Of the allocator, for ranks: a step frees what the next one asks for again, so it is kept rather than have the kernel
/// clear the same pages every step, and in large pages where it may.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
    ("MALLOC_TRIM_THRESHOLD_", "4294967296"),
    ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
];
/// Arenas of glibc for further threads, such as the one that trains, hold 64 MiB at most; what is larger would be mapped
/// and cleared every time. So all threads share the first. Where several threads compute, each is better off with its own,
/// whose blocks are in its cache.
const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

/// The environment in which a rank of so many computing threads allocates best.
pub fn allocator(threads: u32) -> impl Iterator<Item = (&'static str, &'static str)> {
    ALLOCATOR.into_iter().chain((threads <= 1).then_some(ARENAS))
}

/// Why an agent ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// Somebody asked for it.
    Asked,
    /// The process that it belongs to is gone.
    ParentGone,
    /// Nobody gives it orders any more.
    Error(NodeError),
}

/// A node agent.
pub(super) struct Agent {
    config: NodeConfig,
    node: Node,
    contacts: mpsc::Receiver<Contact<ToCoordinator, ToNode>>,
    events: mpsc::Receiver<ProcessEvent<RankRun>>,
    /// For new processes.
    event_sender: mpsc::Sender<ProcessEvent<RankRun>>,
    seats: Seats,
    processes: BTreeMap<RankRun, Process>,
    crews: Crews,
    /// While the coordinator is there.
    sender: Option<mpsc::Sender<ToCoordinator>>,
    waiting: Backlog,
    patience: Patience,
    heartbeat: Interval,
}

/// How long a coordinator is waited for.
struct Patience {
    /// None before the first answer.
    grace: Option<Duration>,
    /// While it is lost.
    until: Option<Instant>,
    reason: String,
}

impl Agent {
    pub(super) fn new(
        config: NodeConfig,
        node: Node,
        contacts: mpsc::Receiver<Contact<ToCoordinator, ToNode>>,
    ) -> Self {
        let (event_sender, events) = mpsc::channel(EVENTS_MAX);
        let patience = Patience {
            grace: None,
            until: Some(Instant::now() + FIRST_ANSWER_MAX),
            reason: "it never answered".to_owned(),
        };
        Self {
            config,
            node,
            contacts,
            events,
            event_sender,
            seats: Seats::default(),
            processes: BTreeMap::new(),
            crews: Crews::default(),
            sender: None,
            waiting: Backlog::default(),
            patience,
            heartbeat: heartbeats(None),
        }
    }

    /// Until `asked` says so or there is no coordinator any more. No rank is left behind.
    pub(super) async fn run(mut self, asked: impl Future<Output = Ending>) -> Result<(), NodeError> {
        tokio::pin!(asked);
        let ending = loop {
            tokio::select! {
                ending = &mut asked => break ending,
                ended = self.advance() => if let Err(error) = ended {
                    break Ending::Error(error);
                },
            }
        };
        let grace = match ending {
            Ending::Asked => END_GRACE,
            Ending::ParentGone | Ending::Error(_) => Duration::ZERO,
        };
        self.end_all(grace).await;
        match ending {
            Ending::Asked | Ending::ParentGone => Ok(()),
            // An embedded coordinator that is done with a job leaves without a word.
            Ending::Error(NodeError::Gone { .. }) if self.config.embedded.is_some() => Ok(()),
            Ending::Error(error) => Err(error),
        }
    }

    /// Waits for the next thing that happens and deals with it. May be dropped while it waits.
    async fn advance(&mut self) -> Result<(), NodeError> {
        let room = self.sender.clone();
        tokio::select! {
            Some(contact) = self.contacts.recv() => self.on_contact(contact)?,
            Some(event) = self.events.recv(), if room.is_none() || self.waiting.len() < WAITING_MAX => {
                self.on_event(event);
            }
            Ok(permit) = reserve(room.as_ref()), if !self.waiting.is_empty() => {
                if let Some(report) = self.waiting.pop() {
                    permit.send(report);
                }
            }
            _ = self.heartbeat.tick(), if room.is_some() => {
                // A full channel means that the coordinator hears enough of us.
                if let Some(sender) = &room {
                    let _ = sender.try_send(wire::heartbeat());
                }
            }
            () = self.patience.over() => return Err(self.gone()),
        }
        Ok(())
    }

    fn on_contact(&mut self, contact: Contact<ToCoordinator, ToNode>) -> Result<(), NodeError> {
        match contact {
            Contact::Dialled(sender) => {
                // A new channel has room; if it is closed already, the loss of the stream is the next thing we hear.
                let _ = sender.try_send(wire::register(&self.node, self.seats.running()));
                self.sender = Some(sender);
                match self.waiting.take_n_dropped() {
                    0 => {}
                    n => tracing::warn!("{n} lines of ranks are lost, since the coordinator was away for too long"),
                }
            }
            Contact::Attached => self.patience.until = None,
            Contact::Order(order) => self.on_order(order),
            Contact::Lost(reason) => {
                if self.sender.take().is_some() || self.patience.reason != reason {
                    tracing::warn!("no coordinator at {}: {reason}; trying again", self.config.join);
                }
                self.patience.reason = reason;
                let grace = self.patience.grace.unwrap_or(FIRST_ANSWER_MAX);
                self.patience.until.get_or_insert_with(|| Instant::now() + grace);
            }
            Contact::TurnedAway(reason) => {
                return Err(NodeError::TurnedAway { join: self.config.join.clone(), reason });
            }
        }
        Ok(())
    }

    fn on_order(&mut self, order: ToNode) {
        match order {
            ToNode::Welcome { heartbeat_timeout, orphan_grace } => {
                tracing::info!("node {} is known to the coordinator at {}", self.node.name, self.config.join);
                self.heartbeat = heartbeats(Some(heartbeat_timeout));
                // An embedded coordinator and its node live and die together.
                self.patience.grace = Some(if self.config.embedded.is_some() { Duration::ZERO } else { orphan_grace });
            }
            ToNode::Start(start) => {
                let acts = self.seats.on_start(start);
                self.carry_out(acts);
            }
            ToNode::End(run, grace) => {
                let acts = self.seats.on_end(run, grace);
                self.carry_out(acts);
            }
        }
    }

    fn on_event(&mut self, event: ProcessEvent<RankRun>) {
        match event {
            ProcessEvent::Lines(run, lines) => self.waiting.push(wire::lines(&run, lines)),
            ProcessEvent::Exited(run, exit) => {
                self.processes.remove(&run);
                for member in self.crews.end(run, &exit) {
                    let acts = self.seats.on_exit(member, exit.clone());
                    self.carry_out(acts);
                }
            }
        }
    }

    fn carry_out(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Start(start) => self.start(start),
                Act::End(run, grace) => {
                    if let Some(process) = self.processes.get(self.crews.named(&run)) {
                        process.end(grace);
                    }
                }
                Act::ReportExit(run, exit) => self.waiting.push(wire::exited(&run, exit)),
                Act::ReportAbsent(run, reason) => self.waiting.push(wire::not_started(&run, reason.to_owned())),
            }
        }
    }

    fn start(&mut self, start: Start) {
        match self.crews.join(&start.run) {
            Some(Joined::Process(pid)) => return self.has_process(start.run, pid),
            Some(Joined::Ended(exit)) => {
                let acts = self.seats.on_exit(start.run, exit);
                return self.carry_out(acts);
            }
            None => {}
        }
        let spec = self.rank_process(&start);
        match Process::start(&spec, start.run.clone(), self.event_sender.clone()) {
            Ok(process) => {
                tracing::info!("started {} as process {}", start.run, process.pid);
                let pid = process.pid;
                if start.ranks_in_process > 1 {
                    self.crews.form(start.run.clone(), pid);
                }
                self.processes.insert(start.run.clone(), process);
                self.has_process(start.run, pid);
            }
            Err(error) => {
                let program = spec.command.first().map_or("", String::as_str);
                self.waiting.push(wire::not_started(&start.run, format!("{program}: {error}")));
            }
        }
    }

    fn has_process(&mut self, run: RankRun, pid: u32) {
        self.waiting.push(wire::started(&run, pid));
        self.seats.started(run, pid);
    }

    fn rank_process(&self, start: &Start) -> ProcessSpec {
        let Start { run, device, threads, ranks_in_process } = start;
        let mut command = self.config.rank_command.clone();
        let mut option = |name: &str, value: String| command.extend([name.to_owned(), value]);
        option("--join", self.config.join.clone());
        option("--job", run.job.clone());
        option("--attempt", run.attempt.to_string());
        option("--rank", run.rank.0.to_string());
        option("--device", device.clone());
        option("--threads", threads.to_string());
        if *ranks_in_process > 1 {
            option("--ranks-in-process", ranks_in_process.to_string());
        }
        for nic in &self.node.nics {
            let nic = comm::Nic { address: nic.address, plane: nic.plane.0.into() };
            option("--address", nic.to_string());
        }
        let seat = [("DSCTL_TOKEN", self.config.token.clone()), ("OMP_NUM_THREADS", threads.to_string())];
        // What this machine's people have set stays.
        let usual = allocator(*threads).map(|(name, value)| (name, value.to_owned()));
        let usual = usual.chain(nccl::settings(device, &self.node.nics, nccl::hca_of));
        let usual = usual.filter(|(name, _)| std::env::var_os(name).is_none());
        ProcessSpec {
            command,
            environment: seat.into_iter().chain(usual).map(|(name, value)| (name.into(), value)).collect(),
            folder: self.config.work.clone(),
        }
    }

    fn gone(&self) -> NodeError {
        let (join, reason) = (self.config.join.clone(), self.patience.reason.clone());
        match self.patience.grace {
            None => NodeError::Unreachable { join, reason },
            Some(grace) => NodeError::Gone { join, reason, grace_seconds: grace.as_secs() },
        }
    }

    /// Ends every rank and says so, if anybody listens.
    async fn end_all(&mut self, grace: Duration) {
        let acts = self.seats.end_all(grace);
        self.carry_out(acts);
        let all_ended = async {
            while !self.processes.is_empty() {
                // Whoever ends does not mind that the coordinator is gone too.
                self.patience.until = None;
                let _ = self.advance().await;
            }
        };
        if timeout(END_MAX, all_ended).await.is_err() {
            tracing::error!("{} ranks do not die", self.processes.len());
        }
        if self.sender.is_some() {
            let _ = timeout(FLUSH_MAX, self.take_leave()).await;
        }
    }

    /// Says what is left to say, ends our side of the stream, and waits until the coordinator has read it all.
    async fn take_leave(&mut self) {
        while self.sender.is_some() && !self.waiting.is_empty() {
            let _ = self.advance().await;
        }
        self.sender = None;
        while let Some(contact) = self.contacts.recv().await {
            if matches!(contact, Contact::Lost(_) | Contact::TurnedAway(_)) {
                return;
            }
        }
    }
}

impl Patience {
    /// Comes when a lost coordinator has been waited for long enough.
    async fn over(&self) {
        match self.until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}
