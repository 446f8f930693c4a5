//! Why text or tokens cannot be used: the file, and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why text or tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder that should be there and readable.
    #[error("cannot read {}: {source}; check that it is there, whole, and yours to read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file or folder of ours.
    #[error("cannot write {}: {source}; check that the disk has room and the folder is yours to write", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing to read.
    #[error("{} holds no text; give a file, or a folder of files, .txt or .jsonl, also with .zst", path.display())]
    NoText {
        /// The source as a whole.
        path: PathBuf,
    },
    /// A format that is not text, by its name.
    #[error("{} is .{suffix}, which is not read; give .txt or .jsonl, also with .zst", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Without the dot.
        suffix: String,
    },
    /// Folders that nest without an end.
    #[error("{} lies {depth} folders deep; take out the link that leads back up", path.display())]
    TooDeep {
        /// Where we stopped.
        path: PathBuf,
        /// How deep that is.
        depth: usize,
    },
    /// It was written while we read it.
    #[error("{} changed while it was read; try again when nobody writes to it", path.display())]
    Changed {
        /// The source as a whole.
        path: PathBuf,
    },
    /// A line of JSONL that does not read.
    #[error("{} line {line}: {reason}; each line must be like {{\"text\": \"…\"}}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of JSONL that does not fit in memory.
    #[error("{} line {line} is longer than {limit} bytes; divide the document over several lines", path.display())]
    LineTooLong {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What we hold in memory.
        limit: usize,
    },
    /// Text that a tokenizer cannot take.
    #[error("{} is not UTF-8 at byte {at}; convert it (iconv -t UTF-8), or use the tokenizer `bytes`", path.display())]
    NotUtf8 {
        /// Which file.
        path: PathBuf,
        /// From 0, after unpacking.
        at: u64,
    },
    /// A tokenizer.json that does not read.
    #[error("{} is no tokenizer: {reason}; give a tokenizer.json of Hugging Face", path.display())]
    Tokenizer {
        /// Which file.
        path: PathBuf,
        /// In the library's words.
        reason: String,
    },
    /// The tokenizer has no word for it.
    #[error("the tokenizer cannot encode {}: {reason}; take one that knows every byte or has an unknown token", path.display())]
    Encode {
        /// The file of text.
        path: PathBuf,
        /// In the library's words.
        reason: String,
    },
    /// A folder that is none of tokens.
    #[error("{} holds no tokens; dsctl data tokenize SOURCE --out DIR makes some", path.display())]
    NoTokens {
        /// Which folder.
        path: PathBuf,
    },
    /// The manifest of a folder of tokens.
    #[error("{} is no manifest of tokens: {reason}; make the tokens anew from their text", path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Tokens of another dsctl.
    #[error("{} has version {found}, this dsctl reads version {known}; make the tokens anew from their text", path.display())]
    Version {
        /// The manifest.
        path: PathBuf,
        /// What it says.
        found: u64,
        /// What we read.
        known: u64,
    },
    /// A file of tokens that was cut short or grew.
    #[error("{} has {found} bytes, its manifest says {expected}; make the tokens anew from their text", path.display())]
    Size {
        /// Which file.
        path: PathBuf,
        /// On disk.
        found: u64,
        /// In the manifest.
        expected: u64,
    },
    /// A file of tokens that is not what was written.
    #[error("{} is corrupt: its checksum is {found}, its manifest says {expected}; make the tokens anew from their text", path.display())]
    Checksum {
        /// Which file.
        path: PathBuf,
        /// On disk.
        found: String,
        /// In the manifest.
        expected: String,
    },
    /// A baseline needs something to compare on.
    #[error("{} holds {n_tokens} tokens, a baseline needs 2 and some text; give more text", path.display())]
    TooFewTokens {
        /// The folder of tokens.
        path: PathBuf,
        /// It holds.
        n_tokens: u64,
    },
    /// Training and validation tokens of different kinds.
    #[error(
        "{} has tokens of {train} kinds, {} of {validation}; make both with the same tokenizer",
        train_path.display(), validation_path.display()
    )]
    Vocabularies {
        /// Folder of the training tokens.
        train_path: PathBuf,
        /// Their vocabulary.
        train: u32,
        /// Folder of the validation tokens.
        validation_path: PathBuf,
        /// Their vocabulary.
        validation: u32,
    },
}

/// For `map_err`, of what was read.
pub(crate) fn reading(path: &Path) -> impl FnOnce(io::Error) -> DataError + '_ {
    |source| DataError::Read { path: path.to_owned(), source }
}

/// For `map_err`, of what was written.
pub(crate) fn writing(path: &Path) -> impl FnOnce(io::Error) -> DataError + '_ {
    |source| DataError::Write { path: path.to_owned(), source }
}
