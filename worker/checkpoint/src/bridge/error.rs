//! Why a bridge was not crossed.

use std::fmt::Display;
use std::path::PathBuf;

use ds_arch::hugging_face::ConfigProblems;

use super::problem::TensorProblem;
use crate::error::CheckpointError;

/// Why nothing was imported or exported. What was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The disk refused, or the checkpoint is not whole.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The config is not one of ours, or cannot be written.
    #[error("{}:\n  {problems}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// All of what is wrong.
        problems: ConfigProblems,
    },
    /// Something else stands where a file should.
    #[error("{} is {found}, not a file", path.display())]
    NoFile {
        /// What was named.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// A file that is read whole is too large for what it should be.
    #[error("{} has {found} bytes; one of its kind has {most} at most", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// As it is.
        found: u64,
        /// As it may be.
        most: u64,
    },
    /// There are no weights.
    #[error("{} has neither model.safetensors nor model.safetensors.index.json", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// There are two sets of weights.
    #[error(
        "{} has model.safetensors and a model.safetensors.index.json that does not name it: which one counts?",
        folder.display()
    )]
    TwoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// The index does not read.
    #[error("{} is no index of safetensors: {reason}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file's header does not read or contradicts the file.
    #[error("{} is no safetensors file: {reason}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Tensors are not those of the model.
    #[error("{}: its tensors are not those of its config:{}", folder.display(), first(problems))]
    Tensors {
        /// The folder.
        folder: PathBuf,
        /// All of what is wrong.
        problems: Vec<TensorProblem>,
    },
    /// A block scale that codes cannot be multiplied by.
    #[error(
        "{}: {tensor}: the scale of block ({row}, {column}) is {value:e}; a number from {least:e} to {most:e} is needed",
        path.display()
    )]
    Scale {
        /// The file.
        path: PathBuf,
        /// Of scales.
        tensor: String,
        /// Of blocks, from 0.
        row: usize,
        /// Of blocks, from 0.
        column: usize,
        /// As it is.
        value: f32,
        /// Smaller ones would lose bits of products.
        least: f32,
        /// Larger ones would lose products.
        most: f32,
    },
    /// A code that is no number.
    #[error("{}: {tensor}: element ({row}, {column}) is no number", path.display())]
    NoNumber {
        /// The file.
        path: PathBuf,
        /// Of codes.
        tensor: String,
        /// From 0.
        row: usize,
        /// From 0.
        column: usize,
    },
    /// What an MTP module shares with the model is not the same.
    #[error(
        "{}: {copy} must repeat {of}, which the MTP module shares, but differs from byte {byte} on",
        folder.display()
    )]
    Copy {
        /// The folder.
        folder: PathBuf,
        /// The MTP module's.
        copy: String,
        /// The model's.
        of: &'static str,
        /// Of the tensor, from 0.
        byte: u64,
    },
    /// A file is not what it was when its header was read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The target is there already.
    #[error("{} is there already", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The target's name with `.tmp` behind it is something else.
    #[error("{} is in the way: no earlier run of this command made it", path.display())]
    InTheWay {
        /// The draft's name.
        path: PathBuf,
    },
    /// Somebody else writes the same target.
    #[error("another process writes {}", path.display())]
    Busy {
        /// The draft.
        path: PathBuf,
    },
    /// The disk is too full.
    #[error("{} needs {needed} more bytes, and its disk has {free} free", path.display())]
    Room {
        /// The draft.
        path: PathBuf,
        /// In bytes, besides what an earlier run has written.
        needed: u64,
        /// In bytes.
        free: u64,
    },
    /// Whoever saw the progress wanted no more.
    #[error("stopped; the same command goes on from what is finished in {}", path.display())]
    Stopped {
        /// The draft.
        path: PathBuf,
    },
    /// It cannot be done in so little memory.
    #[error("{given} bytes of memory are too little: {what} needs {needed}")]
    Memory {
        /// As allowed.
        given: u64,
        /// As needed.
        needed: u64,
        /// For what.
        what: String,
    },
}

impl BridgeError {
    /// Whether going on later is sensible: the disk failed, not what was read.
    pub(super) fn may_pass(&self) -> bool {
        let disk = matches!(self, Self::Checkpoint(CheckpointError::Write { .. }));
        disk || matches!(self, Self::Room { .. } | Self::Stopped { .. })
    }
}

/// The first problems, a line each, and how many more there are.
fn first(problems: &[TensorProblem]) -> String {
    const SHOWN: usize = 20;
    let line = |one: &dyn Display| format!("\n  {one}");
    let mut text: String = problems.iter().take(SHOWN).map(|problem| line(problem)).collect();
    if problems.len() > SHOWN {
        text.push_str(&line(&format!("and {} more", problems.len() - SHOWN)));
    }
    text
}
