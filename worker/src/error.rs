//! Why a rank ends before its last step, and who is to blame.

use ds_checkpoint::CheckpointError;
use ds_data::DataError;
use ds_kernels::TorchError;
use ds_model::ModelError;
use ds_plan::spec::Problems;
use ds_plan::{NotExecutable, PlanError, RankId};

use crate::agent::Orphaned;
use crate::comm::CommError;
use crate::generate::NotFinite;
use crate::step::NormError;

/// Why a rank ends before its last step.
#[derive(Debug, thiserror::Error)]
pub enum RankError {
    /// A peer, or the network.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// LibTorch, or an exchange inside the model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// LibTorch.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// The checkpoint's files.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The training text.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The job as the coordinator sent it.
    #[error("the job does not read:\n{0}")]
    Spec(#[from] Problems),
    /// The job cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The coordinator is gone.
    #[error(transparent)]
    Orphaned(#[from] Orphaned),
    /// The job can be planned, but not executed yet.
    #[error(transparent)]
    NotExecutable(#[from] NotExecutable),
    /// The data does not fit the model.
    #[error("data.{field}: tokens of a vocabulary of {found}, model.vocab_size is {vocab_size}")]
    Vocabulary {
        /// `train` or `validation`.
        field: &'static str,
        /// Of the tokens.
        found: u64,
        /// Of the model.
        vocab_size: u32,
    },
    /// Not one whole sequence.
    #[error("data.{field}: {n_tokens} tokens are fewer than one sequence of {needed}")]
    TooLittleText {
        /// `train` or `validation`.
        field: &'static str,
        /// There are.
        n_tokens: u64,
        /// A sequence and its targets.
        needed: u32,
    },
    /// Training has diverged, or a sample is bad.
    #[error("step {step}: the gradient norm is {norm}; the weights were left as they were before it")]
    NotFinite {
        /// Updates done before it.
        step: u64,
        /// What came out.
        norm: f64,
    },
    /// A simulated network that cannot be.
    #[error("{what} {given}: {reason}")]
    Simulated {
        /// The field of the job.
        what: &'static str,
        /// What it says.
        given: String,
        /// What is wrong.
        reason: String,
    },
    /// A step that the simulated network cannot carry.
    #[error("step {step} cannot be played on cluster.fabric: {reason}")]
    Unplayed {
        /// Updates done, with it.
        step: u64,
        /// What is wrong.
        reason: String,
    },
    /// The model has nothing to say.
    #[error("sequence {sequence}, position {position}: {reason}")]
    Logits {
        /// Which prompt, from 0.
        sequence: u64,
        /// Of the token that would follow.
        position: u64,
        /// What came out.
        reason: NotFinite,
    },
    /// Nobody hears what is written.
    #[error("what was written cannot be handed on: {0}")]
    Tell(std::io::Error),
    /// `mpirun` and the job do not fit.
    #[error("the job has {n_ranks} ranks, mpirun started {n_started} processes; start it with mpirun -np {n_ranks}")]
    Processes {
        /// Of the job's grid.
        n_ranks: u32,
        /// By `mpirun`.
        n_started: usize,
    },
    /// A device of the seat cannot be used.
    #[error("device {device}: {reason}")]
    Device {
        /// As the coordinator names it.
        device: String,
        /// Why not.
        reason: String,
    },
    /// Another rank failed while saving or loading.
    #[error("rank {rank} could not do its part of the checkpoint: {reason}")]
    PeerCouldNotSave {
        /// Which.
        rank: u32,
        /// In its words.
        reason: String,
    },
    /// The coordinator said something that makes no sense here.
    #[error("expected the order {expected}, got {got}")]
    OutOfTurn {
        /// Next in the life of a rank.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

impl From<NormError> for RankError {
    fn from(error: NormError) -> Self {
        match error {
            NormError::Comm(error) => Self::Comm(error),
            NormError::Torch(error) => Self::Torch(error),
        }
    }
}

impl RankError {
    /// "user": trying again would not help; "peer": another rank fell; "world": anything else outside.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Comm(_) | Self::PeerCouldNotSave { .. } => "peer",
            Self::Model(error) if error.peer().is_some() => "peer",
            Self::Spec(_)
            | Self::Plan(_)
            | Self::Data(_)
            | Self::NotExecutable(_)
            | Self::Vocabulary { .. }
            | Self::TooLittleText { .. }
            | Self::NotFinite { .. }
            | Self::Simulated { .. }
            | Self::Unplayed { .. }
            | Self::Logits { .. }
            | Self::Processes { .. }
            | Self::Device { .. } => "user",
            Self::Model(_)
            | Self::Torch(_)
            | Self::Checkpoint(_)
            | Self::Orphaned(_)
            | Self::OutOfTurn { .. }
            | Self::Tell(_) => "world",
        }
    }

    /// The rank that this one holds responsible, if it is another.
    pub fn culprit(&self) -> Option<RankId> {
        match self {
            Self::Comm(error) => error.culprit(),
            Self::PeerCouldNotSave { rank, .. } => Some(RankId(*rank)),
            Self::Model(error) => error.peer().map(RankId),
            _ => None,
        }
    }
}
