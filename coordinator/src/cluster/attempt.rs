//! One start of a job: its ranks, from the order to start to the last exit.

use std::time::Duration;

use ds_topology::Device;
use serde::{Deserialize, Serialize};

use super::ending::{Ending, Why};
use super::failure::{Fault, FaultKind};
use super::{Effect, Exit, RankRun, Time};

/// A process has this long to register after its node was told to start it. LibTorch takes seconds to load, on a busy
/// machine many.
pub(super) const START_MAX: Duration = Duration::from_secs(90);
/// A process that ended well may have said so on another stream, which is read a little later.
pub(super) const LAST_WORD_MAX: Duration = Duration::from_secs(2);
/// One start of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// How far it is.
    pub phase: Phase,
    /// Every rank, in order.
    pub ranks: Vec<Rank>,
    /// What went wrong, in the order of arrival.
    pub faults: Vec<Fault>,
    /// Once it is to end.
    pub ending: Option<Ending>,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Until every rank listens.
    Starting,
    /// Until every rank is ready.
    Connecting,
    /// They train.
    Running,
}

/// One rank of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// Where it sits.
    pub node: String,
    /// On what.
    pub device: Device,
    /// How far it is.
    pub progress: Progress,
    /// Where peers reach it.
    pub addresses: Vec<String>,
    /// Updates that the weights have seen that it took up.
    pub resumed_step: Option<u64>,
    /// Said by itself: whether it stopped before the last step.
    pub finished: Option<bool>,
    /// How its process ended.
    pub exit: Option<Exit>,
    /// Whether its node was told to end it.
    pub told_to_end: bool,
    /// When it has been silent for too long; no part of what is kept.
    #[serde(skip)]
    pub deadline: Option<Time>,
    /// After the coordinator's restart, until it comes back: for how long; no part of what is kept.
    #[serde(skip)]
    pub awaited: Option<Duration>,
}

/// How far a rank is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Its node is to start it.
    Ordered,
    /// It has a process.
    Started,
    /// It talks to us.
    Registered,
    /// Peers can reach it.
    Listening,
    /// It has its weights.
    Ready,
    /// It has no process any more, as far as anybody knows.
    Gone,
}

impl Attempt {
    /// Every rank of it, as a name.
    pub(super) fn run(&self, job: &str, rank: usize) -> RankRun {
        RankRun { job: job.to_owned(), attempt: self.number, rank: rank as u32 }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.ranks.iter().all(|rank| rank.progress == Progress::Gone)
    }

    pub(super) fn all_reached(&self, progress: Progress) -> bool {
        self.ranks.iter().all(|rank| rank.progress >= progress && rank.progress != Progress::Gone)
    }

    /// A rank is that far. Whether that counts: one that is gone gets nowhere.
    pub(super) fn reach(&mut self, rank: u32, progress: Progress) -> bool {
        let rank = &mut self.ranks[rank as usize];
        rank.progress = rank.progress.max(progress);
        rank.progress != Progress::Gone
    }

    /// A rank has no process any more.
    pub(super) fn on_exit(&mut self, job: &str, rank: u32, exit: Exit, now: Time, out: &mut Vec<Effect>) {
        let of = &mut self.ranks[rank as usize];
        if of.progress == Progress::Gone {
            return;
        }
        of.progress = Progress::Gone;
        let was_expected = of.finished.is_some() || of.told_to_end;
        let ended_well = exit.code == Some(0);
        of.exit = Some(exit);
        of.deadline = None;
        if was_expected || self.faults.iter().any(|fault| fault.rank == rank) {
            return;
        }
        if ended_well {
            self.ranks[rank as usize].deadline = Some(now + LAST_WORD_MAX);
        } else {
            self.fault(job, rank, FaultKind::Exited, now, out);
        }
    }

    /// Processes of ranks are unheard of, or lie where nobody can ask.
    pub(super) fn lose(&mut self, job: &str, ranks: &[u32], kind: &FaultKind, now: Time, out: &mut Vec<Effect>) {
        let mut faults = Vec::new();
        for &number in ranks {
            let rank = &mut self.ranks[number as usize];
            if rank.progress != Progress::Gone && rank.finished.is_none() && !rank.told_to_end {
                faults.push(number);
            }
            rank.progress = Progress::Gone;
            rank.deadline = None;
        }
        for rank in faults {
            self.fault(job, rank, kind.clone(), now, out);
        }
    }

    /// A rank has said that it is done. When all have, the attempt ends by itself.
    pub(super) fn on_finished(&mut self, job: &str, rank: u32, stopped: bool, now: Time, out: &mut Vec<Effect>) {
        let of = &mut self.ranks[rank as usize];
        of.finished = Some(stopped);
        of.deadline = None;
        if self.ranks.iter().all(|rank| rank.finished.is_some()) {
            self.end(job, Why::Finished, now, out);
        }
    }
}
