//! The heart: what is known of nodes and jobs, and what follows from each event. Pure: no clock, no chance, no I/O.
//!
//! `on(event, now)` changes the state and says what to do. Whoever owns the cluster keeps event and state first and does
//! it then, so that effects may be lost with the coordinator but never done for a state that nobody remembers. What
//! is lost is repeated when nodes and ranks attach again.

mod attempt;
mod effect;
mod ending;
mod event;
mod failure;
mod job;
mod keep;
mod node;
mod nodes;
mod queue;
mod ranks;
mod time;
mod turns;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use attempt::{Attempt, Phase, Progress, Rank};
pub use effect::{Effect, Listening, News, Peers};
pub use ending::{Ending, Why};
pub use event::{Blame, ByRank, Event, Exit, OfRank, RankRun, Submission};
pub use failure::{Fault, FaultKind};
pub use job::{Job, JobState, RankMemory, Terms, Wanted};
pub use keep::KeepError;
pub use node::{Held, Node};
pub use time::Time;
pub use view::Refusal;

/// How long ranks of a coordinator that runs alone wait for it, unless their job says otherwise.
const ORPHAN_GRACE: Duration = Duration::from_secs(600);

/// Nodes and jobs.
#[derive(Debug, Default)]
pub struct Cluster {
    /// Whether ranks end with the coordinator.
    is_embedded: bool,
    jobs: BTreeMap<String, Job>,
    nodes: BTreeMap<String, Node>,
    counters: Counters,
    /// Ends with its coordinator.
    is_closing: bool,
    /// Seats or waiting jobs have changed.
    is_seating_due: bool,
    /// What has changed since it was kept last.
    touched: Touched,
}

/// What is counted over all jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counters {
    /// In the newest id.
    number: u64,
    /// Of the newest job in the queue.
    place: u64,
}

#[derive(Debug, Default)]
struct Touched {
    jobs: BTreeSet<String>,
    nodes: BTreeSet<String>,
    counters: bool,
}

impl Cluster {
    /// Without nodes and jobs. `is_embedded`: ranks end with the coordinator.
    pub fn new(is_embedded: bool) -> Self {
        Self { is_embedded, ..Self::default() }
    }

    /// Takes an event in and says what to do about it, in order.
    pub fn on(&mut self, event: Event, now: Time) -> Vec<Effect> {
        let mut out = Vec::new();
        let out = &mut out;
        match event {
            Event::Started => self.on_started(now, out),
            Event::Closing => self.on_closing(now, out),
            Event::Tick => self.on_tick(now, out),
            Event::Submitted(submission) => self.on_submitted(submission, now, out),
            Event::Cancelled { job, at_once } => self.change(&job, now, out, |job, out| job.cancel(at_once, now, out)),
            Event::Resumed { job, plan } => {
                let place = self.next_place();
                self.change(&job, now, out, |job, out| job.resume(plan, place, out));
            }
            Event::BaselineCounted { job, nats_per_byte } => self.on_baseline(&job, nats_per_byte, out),
            Event::NodeJoined { node, running } => self.on_node_joined(node, &running, now, out),
            Event::NodeHeard { node } => self.on_node_heard(&node, now),
            Event::NodeLeft { node } => self.on_node_left(&node, now),
            Event::OfRank { node, run, said } => self.of_rank(&node, &run, said, now, out),
            Event::ByRank { run, said } => self.by_rank(&run, said, now, out),
        }
        self.seat_waiting(now, out);
        std::mem::take(out)
    }

    /// When the next [`Event::Tick`] is due; none while nothing has to be watched.
    pub fn next_deadline(&self) -> Option<Time> {
        let nodes = self.nodes.values().filter_map(|node| node.deadline);
        let attempts = self.jobs.values().filter_map(|job| job.attempt.as_ref()?.next_deadline());
        nodes.chain(attempts).min()
    }

    fn on_started(&mut self, now: Time, out: &mut Vec<Effect>) {
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        for name in names {
            self.node_mut(&name).gone();
        }
        for id in self.job_ids(|job| !job.state.has_ended()) {
            let grace = self.orphan_grace(&self.jobs[&id]);
            self.change(&id, now, out, |job, out| job.come_back(grace, now, out));
        }
        self.is_seating_due = true;
    }

    fn on_closing(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.is_closing = true;
        if !self.is_embedded {
            return;
        }
        for id in self.job_ids(|job| job.attempt.is_some()) {
            self.change(&id, now, out, |job, out| {
                if let Some(attempt) = &mut job.attempt {
                    attempt.end(&job.id, Why::Closing, now, out);
                }
            });
        }
    }

    fn on_tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.pass_time_of_nodes(now, out);
        let is_due = |job: &Job| {
            let deadline = job.attempt.as_ref().and_then(Attempt::next_deadline);
            deadline.is_some_and(|deadline| deadline <= now)
        };
        for id in self.job_ids(is_due) {
            self.change(&id, now, out, |job, out| {
                let silent_max = job.terms.heartbeat_timeout;
                if let Some(attempt) = &mut job.attempt {
                    attempt.pass_time(&job.id, silent_max, now, out);
                }
            });
        }
    }

    fn on_submitted(&mut self, submission: Submission, now: Time, out: &mut Vec<Effect>) {
        self.counters.number += 1;
        let place = self.next_place();
        let job = Job::new(submission, place, now);
        job.show(out);
        let id = job.id.clone();
        self.touched.jobs.insert(id.clone());
        self.jobs.insert(id, job);
        self.is_seating_due = true;
    }

    fn on_baseline(&mut self, id: &str, nats_per_byte: f64, out: &mut Vec<Effect>) {
        if self.jobs.contains_key(id) {
            let job = self.job_mut(id);
            job.baseline = Some(nats_per_byte);
            if job.state.has_ended() {
                // Its summary was written without.
                job.show(out);
            }
        }
    }

    /// Changes a job and sees what follows if its attempt is over.
    fn change(&mut self, id: &str, now: Time, out: &mut Vec<Effect>, change: impl FnOnce(&mut Job, &mut Vec<Effect>)) {
        if !self.jobs.contains_key(id) {
            return;
        }
        let job = self.job_mut(id);
        let was_queued = job.state == JobState::Queued;
        change(job, out);
        if let Some(attempt) = job.attempt.take_if(|attempt| attempt.is_over(now)) {
            job.after_attempt(&attempt, now, out);
        }
        let is_queued = job.state == JobState::Queued;
        self.is_seating_due |= was_queued != is_queued;
    }

    /// For a change that is to be kept.
    fn job_mut(&mut self, id: &str) -> &mut Job {
        self.touched.jobs.insert(id.to_owned());
        self.jobs.get_mut(id).expect("asked for by an id of its own")
    }

    /// For a change that is to be kept.
    fn node_mut(&mut self, name: &str) -> &mut Node {
        self.touched.nodes.insert(name.to_owned());
        self.nodes.get_mut(name).expect("asked for by a name of its own")
    }

    fn job_ids(&self, is_meant: impl Fn(&Job) -> bool) -> Vec<String> {
        self.jobs.values().filter(|job| is_meant(job)).map(|job| job.id.clone()).collect()
    }

    fn next_place(&mut self) -> u64 {
        self.touched.counters = true;
        self.counters.place += 1;
        self.counters.place
    }

    fn orphan_grace(&self, job: &Job) -> Duration {
        job.terms.orphan_grace.unwrap_or(self.default_grace())
    }

    fn default_grace(&self) -> Duration {
        if self.is_embedded { Duration::ZERO } else { ORPHAN_GRACE }
    }
}

#[cfg(test)]
mod tests;
