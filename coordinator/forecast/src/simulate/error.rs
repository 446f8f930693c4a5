//! Why a step cannot be played.

use ds_topology::NoRoute;

/// Why a step cannot be played.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimulateError {
    /// The fabric is too small.
    #[error("the job has {ranks} ranks, the fabric has {endpoints} endpoints")]
    TooFewEndpoints {
        /// Of the job.
        ranks: usize,
        /// Of the fabric.
        endpoints: u32,
    },
    /// Lists of different lengths.
    #[error("{what}: {found} are given, {expected} are needed")]
    Count {
        /// What is listed.
        what: &'static str,
        /// As many are given.
        found: usize,
        /// As many are needed.
        expected: usize,
    },
    /// A number that makes no sense.
    #[error("{what} is {value}: it must be {rule}")]
    Number {
        /// What.
        what: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        rule: &'static str,
    },
    /// A straggler that is not there.
    #[error("straggler: rank {rank} is not there, the job has ranks 0 to {last}")]
    NoSuchRank {
        /// Named.
        rank: u32,
        /// The greatest.
        last: u32,
    },
    /// Experts and ranks do not fit.
    #[error("{ranks} expert ranks cannot hold {experts} experts in equal runs")]
    Experts {
        /// Of an expert group.
        ranks: usize,
        /// Of a layer.
        experts: u32,
    },
    /// An exchange that the plan has and nobody measured.
    #[error("rank {rank}, action {action}: the exchange of layer {layer} was not measured")]
    NotMeasured {
        /// Whose.
        rank: u32,
        /// In which of its actions.
        action: u32,
        /// Whose gate.
        layer: u32,
    },
    /// What ranks wrote down does not fit together.
    #[error("{0}")]
    Record(#[from] crate::recorded::RecordError),
    /// Two endpoints that cannot reach each other.
    #[error("{0}")]
    NoRoute(#[from] NoRoute),
    /// A schedule whose halves do not meet.
    #[error("pipeline coordinate {pipeline} waits for microbatch {microbatch} of stage {stage}, which nobody sends")]
    NobodySends {
        /// Who waits.
        pipeline: u32,
        /// Of what.
        microbatch: u32,
        /// From where.
        stage: u32,
    },
    /// Something that cannot go on.
    #[error("rank {rank} can never begin action {action}: {why}")]
    Stuck {
        /// Who.
        rank: u32,
        /// Which of its actions.
        action: u32,
        /// What holds it up.
        why: &'static str,
    },
}
