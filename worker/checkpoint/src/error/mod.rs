//! What can be wrong with a checkpoint, and where.

mod rule;

use std::io;
use std::ops::Range;
use std::path::PathBuf;

pub use rule::Rule;

/// Why a checkpoint could not be written, read or trusted.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file or folder could not be written.
    #[error("{} cannot be written: {source}{}", path.display(), room(source))]
    Write {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder could not be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder could not be removed.
    #[error("{} cannot be removed: {source}", path.display())]
    Remove {
        /// What was in the way.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Whoever wrote the folder did not get as far as the commit.
    #[error("{} was never committed: it is what an interrupted save left", path.display())]
    NotCommitted {
        /// The draft's folder.
        path: PathBuf,
    },
    /// The manifest's text does not have the checksum that it ends with.
    #[error("{} does not match its own checksum: it says {stored}, its text gives {computed}", path.display())]
    ManifestChecksum {
        /// The manifest.
        path: PathBuf,
        /// As it says.
        stored: String,
        /// As it is.
        computed: String,
    },
    /// The manifest does not read.
    #[error("{} is not a checkpoint's manifest: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A later format.
    #[error("{} has format version {found}; this program reads version {known}: use a newer dsctl", path.display())]
    Version {
        /// The manifest.
        path: PathBuf,
        /// As it says.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// The folder's name says something else than its manifest.
    #[error("{} is named after step {named}, but holds step {held}", path.display())]
    OtherStep {
        /// The checkpoint.
        path: PathBuf,
        /// In its name.
        named: u64,
        /// In its manifest.
        held: u64,
    },
    /// A file is shorter or longer than it was when it was committed.
    #[error("{} has {found} bytes instead of {expected}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// As it is.
        found: u64,
        /// As the manifest says.
        expected: u64,
    },
    /// A file's header is not the one that was committed.
    #[error("{}: the header is damaged: {reason}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor's bytes are not those that were committed.
    #[error(
        "{}: {record} is damaged: bytes {} to {} have checksum {computed} instead of {stored}",
        path.display(), bytes.start, bytes.end
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Which tensor.
        record: String,
        /// Where it lies in the file.
        bytes: Range<u64>,
        /// As the manifest says.
        stored: String,
        /// As it is.
        computed: String,
    },
    /// A tensor breaks a rule of the format.
    #[error("{}: {record}: {rule}", path.display())]
    Record {
        /// The file or folder.
        path: PathBuf,
        /// Which tensor.
        record: String,
        /// The rule.
        rule: Box<Rule>,
    },
    /// A file breaks a rule of the format.
    #[error("{}: its tensors do not fill it: {reason}", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// Where, with both numbers.
        reason: String,
    },
    /// There is no such tensor.
    #[error("{} has no {record}{}", path.display(), instead(there))]
    NoSuchRecord {
        /// The checkpoint.
        path: PathBuf,
        /// What was asked for.
        record: String,
        /// Other kinds that it has of that name.
        there: Vec<String>,
    },
    /// The run kept no moving averages.
    #[error("{} has no moving averages of its weights: its job does not say train[].ema: true", path.display())]
    NoAverages {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A tensor has another shape than whoever reads it.
    #[error("{}: {record} has shape {found:?}, {expected:?} is wanted", path.display())]
    Shape {
        /// The checkpoint.
        path: PathBuf,
        /// Which tensor.
        record: String,
        /// As it is.
        found: Vec<u64>,
        /// As it should be.
        expected: Vec<u64>,
    },
    /// What came from a writer does not read.
    #[error("a writer's part of a checkpoint does not read: {reason}")]
    Part {
        /// What is wrong.
        reason: String,
    },
    /// The parts are not those of one save.
    #[error("{}: {reason}; every writer from 0 up hands in one part of the same step", path.display())]
    Parts {
        /// The draft.
        path: PathBuf,
        /// Which part, with both numbers.
        reason: String,
    },
}

fn room(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space or keep fewer checkpoints (older ones are as they were)"
        }
        _ => "",
    }
}

fn instead(there: &[String]) -> String {
    if there.is_empty() { String::new() } else { format!("; of that name it has {}", there.join(", ")) }
}
