//! All that can happen to a cluster.

use std::fmt;
use std::sync::Arc;

use ds_plan::JobPlan;
use ds_proto::{Evaluation, StepMetrics};
use serde::{Deserialize, Serialize};

/// One run of one rank. Whatever is said of it carries the attempt, so that nothing late is taken for something new.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RankRun {
    /// The job's id.
    pub job: String,
    /// Which start of the job, from 1.
    pub attempt: u32,
    /// Which rank of it.
    pub rank: u32,
}

impl fmt::Display for RankRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of job {}, attempt {}", self.rank, self.job, self.attempt)
    }
}

/// A job that somebody handed in.
#[derive(Clone, Debug, Serialize)]
pub struct Submission {
    /// [`super::Cluster::next_id`] of its name.
    pub id: String,
    /// Resolved.
    pub spec_yaml: String,
    /// The same, planned.
    #[serde(skip)]
    pub plan: Arc<JobPlan>,
    /// Instead of the job's own.
    pub priority: Option<i32>,
    /// What peers show each other is made from it.
    #[serde(skip)]
    pub secret: String,
}

/// How a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Unless a signal ended it.
    pub code: Option<i32>,
    /// That ended it.
    pub signal: Option<i32>,
    /// Its newest lines.
    pub last_lines: Vec<String>,
}

/// Who is wrong, as a rank sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// Another rank.
    Peer,
    /// Disk, network, memory.
    World,
    /// Whoever wrote the job; trying again does not help.
    User,
    /// Us.
    Bug,
}

/// Something that happens.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A coordinator has taken up what an earlier one left.
    Started,
    /// It ends; an embedded one takes its ranks with it.
    Closing,
    /// Time has passed.
    Tick,
    /// A job was handed in.
    Submitted(Submission),
    /// A job is to stop.
    Cancelled {
        /// Its id.
        job: String,
        /// Without a checkpoint.
        at_once: bool,
    },
    /// A job that ended is to go on.
    Resumed {
        /// Its id.
        job: String,
        /// Its spec, planned.
        #[serde(skip)]
        plan: Arc<JobPlan>,
    },
    /// A trigram was counted on a job's data.
    BaselineCounted {
        /// Its id.
        job: String,
        /// What it reached.
        nats_per_byte: f64,
    },
    /// A node agent has attached, for the first time or again.
    NodeJoined {
        /// What it brings.
        node: ds_topology::Node,
        /// Ranks that run there.
        running: Vec<RankRun>,
    },
    /// A node lives.
    NodeHeard {
        /// Its name.
        node: String,
    },
    /// A node's stream broke.
    NodeLeft {
        /// Its name.
        node: String,
    },
    /// A node says something of a rank.
    OfRank {
        /// Who says it.
        node: String,
        /// Of whom.
        run: RankRun,
        /// What.
        said: OfRank,
    },
    /// A rank says something.
    ByRank {
        /// Who.
        run: RankRun,
        /// What.
        said: ByRank,
    },
}

/// What a node agent says of a rank.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OfRank {
    /// It has a process.
    Started {
        /// The process.
        pid: u32,
    },
    /// It has none and will get none.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// Its process has ended.
    Exited(Exit),
}

/// What a rank says.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ByRank {
    /// It is there, for the first time or again.
    Registered,
    /// It lives.
    Heartbeat,
    /// Peers can reach it.
    Listening {
        /// The best first.
        addresses: Vec<String>,
    },
    /// It is connected and has its weights.
    Ready {
        /// Updates that they have seen.
        resumed_step: u64,
    },
    /// An update was done.
    Step(#[serde(serialize_with = "without_loads")] StepMetrics),
    /// The held-out data was looked at.
    Evaluation(Evaluation),
    /// A whole checkpoint lies on disk.
    Checkpoint {
        /// Updates that it holds.
        step: u64,
        /// Where.
        folder: String,
        /// That it took.
        seconds: f64,
    },
    /// The most memory that it has needed.
    Memory {
        /// Beyond what it had before it made its model.
        peak_bytes: u64,
    },
    /// It cannot go on.
    Failed {
        /// Who is wrong.
        blame: Blame,
        /// A sentence.
        message: String,
        /// Another rank that it holds responsible.
        culprit: Option<u32>,
        /// Updates done.
        step: u64,
    },
    /// It is done.
    Finished {
        /// Updates done.
        step: u64,
        /// On order, before the last step.
        stopped: bool,
    },
}

/// Loads of experts are many, and stand among the metrics already.
fn without_loads<S: serde::Serializer>(metrics: &StepMetrics, serializer: S) -> Result<S::Ok, S::Error> {
    StepMetrics { loads: Vec::new(), ..metrics.clone() }.serialize(serializer)
}
