//! What coordinator and training thread say to each other.

use std::time::Duration;

use ds_plan::RankId;
use ds_proto::{Evaluation, StepMetrics};

use crate::comm::{Nic, Peer};

/// From the coordinator, in this order, but for `Stop`, which may come at any time.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// What the job is.
    Configure(Configure),
    /// Where all ranks listen, this one too, in rank order.
    Connect(Vec<Peer>),
    /// Train.
    Go,
    /// Stop after the current step.
    Stop(Stop),
}

/// What a rank needs to know before it can listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configure {
    /// The job, resolved; `ds_plan::spec::read` reads it.
    pub spec_yaml: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Where checkpoints go, and come from.
    pub checkpoint_folder: String,
    /// A secret that peers of this attempt show each other.
    pub peer_token: String,
    /// Where token folders made from data.train and data.validation lie.
    pub token_cache: String,
    /// How long a lost coordinator is waited for.
    pub orphan_grace: Duration,
    /// Of this node: where the rank is to listen, the best first.
    pub addresses: Vec<Nic>,
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Save a checkpoint after the current step; otherwise end without.
    pub checkpoint: bool,
}

/// To the coordinator.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Peers can reach this rank there.
    Listening {
        /// The best first.
        addresses: Vec<String>,
    },
    /// Connected, weights taken up.
    Ready {
        /// Updates that the weights have seen.
        resumed_step: u64,
    },
    /// One optimizer update; from rank 0 only.
    Step(StepMetrics),
    /// Of the held-out data; from rank 0 only.
    Evaluation(Evaluation),
    /// The most memory that this rank has needed beyond what it had before it made its model; at its end.
    Memory {
        /// Of the host; anonymous.
        peak_bytes: u64,
    },
    /// A whole checkpoint lies on disk; from rank 0 only.
    Checkpoint {
        /// Updates that it holds.
        step: u64,
        /// Where.
        folder: String,
        /// That it took.
        seconds: f64,
    },
}

/// How a training thread ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// After the last step.
    Finished {
        /// Updates done.
        step: u64,
    },
    /// On order, before the last step.
    Stopped {
        /// Updates done.
        step: u64,
    },
    /// It cannot go on.
    Failed(Failure),
}

/// Why a rank cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `peer`, `world`, `user` or `bug`: who is wrong.
    pub kind: &'static str,
    /// A sentence.
    pub message: String,
    /// The rank that this one holds responsible, if it is another.
    pub culprit: Option<RankId>,
    /// Updates done.
    pub step: u64,
}
