//! All that a cluster can want done. Doing it twice is as good as once.

use std::sync::Arc;
use std::time::Duration;

use ds_proto::{Evaluation, StepMetrics};
use ds_topology::Device;

use super::RankRun;

/// Where every rank of an attempt listens, in rank order.
pub type Peers = Arc<[Listening]>;

/// Where a rank listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Which.
    pub rank: u32,
    /// That it sits on.
    pub node: String,
    /// The best first.
    pub addresses: Vec<String>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A node is known.
    Welcome {
        /// Its name.
        node: String,
        /// If it is silent for longer it is taken for dead.
        heartbeat_timeout: Duration,
        /// How long ranks may outlive the connection.
        orphan_grace: Duration,
    },
    /// A node was taken for dead; should it live, it must attach again.
    Detach {
        /// Its name.
        node: String,
        /// How long it was silent.
        after: Duration,
    },
    /// A node is to start a rank.
    StartRank {
        /// Its name.
        node: String,
        /// Which rank.
        run: RankRun,
        /// On what.
        device: Device,
        /// Of the rank.
        threads: u32,
        /// Ranks that share its process; 1 where it has its own, else all of the job, on this node.
        ranks_in_process: u32,
    },
    /// A node is to end a rank.
    EndRank {
        /// Its name.
        node: String,
        /// Which rank.
        run: RankRun,
        /// Before it is killed.
        grace: Duration,
    },
    /// A rank learns what the job is.
    Configure {
        /// Which rank.
        run: RankRun,
        /// On what it computes.
        device: Device,
        /// How long it may outlive the connection.
        orphan_grace: Duration,
    },
    /// A rank learns where its peers are.
    Connect {
        /// Which rank.
        run: RankRun,
        /// Where they are.
        peers: Peers,
    },
    /// A rank is to train.
    Go {
        /// Which rank.
        run: RankRun,
    },
    /// A rank is to stop after its step.
    Stop {
        /// Which rank.
        run: RankRun,
        /// And save before.
        checkpoint: bool,
    },
    /// Ranks of an attempt have nothing more to say.
    Release {
        /// The job's id.
        job: String,
        /// Which attempt.
        attempt: u32,
    },
    /// Something is to be remembered of a job, and told to those who watch.
    Tell {
        /// The job's id.
        job: String,
        /// Of which attempt; 0 before the first.
        attempt: u32,
        /// Updates done.
        step: u64,
        /// What.
        news: News,
    },
    /// A job looks different: those who watch are shown it. If it has ended its summary is written before.
    Show {
        /// The job's id.
        job: String,
        /// Its newest attempt.
        attempt: u32,
    },
}

/// Something to remember of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// An update was done.
    Step(StepMetrics),
    /// The held-out data was looked at.
    Evaluation(Evaluation),
    /// A whole checkpoint lies on disk.
    Checkpoint {
        /// Where.
        folder: String,
        /// That it took.
        seconds: f64,
    },
    /// A sentence for people.
    Note(String),
}
