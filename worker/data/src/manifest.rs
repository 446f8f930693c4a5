//! What `manifest.json` of a folder of tokens says.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{DataError, reading};

/// The file's name.
pub(crate) const NAME: &str = "manifest.json";
/// What `format` says.
const FORMAT: &str = "dsctl-tokens";
/// What we write and read.
const VERSION: u64 = 1;
/// Tokens from one entry of a shard's marks to the next.
pub(crate) const MARK_EVERY: u64 = 4096;
/// A length in a file of lengths that stands for "look into `long`".
pub(crate) const LONG: u8 = u8::MAX;

/// The whole of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: String,
    version: u64,
    pub(crate) layout: Layout,
    /// `bytes`, or the blake3 of the tokenizer's file.
    pub(crate) tokenizer: String,
    pub(crate) n_documents: u64,
    pub(crate) n_tokens: u64,
    pub(crate) n_bytes: u64,
    pub(crate) shards: Vec<ShardEntry>,
}

/// How tokens are stored, and how many bytes of text each stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Tokens are below it.
    pub(crate) vocab_size: u32,
    /// Ends each document.
    pub(crate) end_of_document: u32,
    pub(crate) width: Width,
    pub(crate) lengths: Lengths,
}

/// Of a token on disk, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Width {
    U16,
    U32,
}

/// Where the bytes of text that a token stands for are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lengths {
    /// A token below 256 is a byte, any other is none.
    BelowByte,
    /// A file beside the tokens has a byte for each.
    Listed,
}

/// One shard: its files are named by its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ShardEntry {
    pub(crate) n_tokens: u64,
    pub(crate) n_bytes: u64,
    /// The tokens.
    pub(crate) tokens: FileEntry,
    /// Bytes of text before every [`MARK_EVERY`]-th token of the shard, u64 little endian.
    pub(crate) marks: FileEntry,
    /// Bytes of text of each token, u8; only with [`Lengths::Listed`].
    pub(crate) lengths: Option<FileEntry>,
    /// (place in the shard, bytes of text) of tokens that stand for [`LONG`] bytes or more, in order of place.
    pub(crate) long: Vec<(u64, u64)>,
}

/// What a file must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    pub(crate) size: u64,
    pub(crate) blake3: String,
}

impl Layout {
    pub(crate) fn new(vocab_size: u32, end_of_document: u32, lengths: Lengths) -> Self {
        let width = if vocab_size <= 1 << 16 { Width::U16 } else { Width::U32 };
        Self { vocab_size, end_of_document, width, lengths }
    }
}

impl Width {
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::U16 => 2,
            Self::U32 => 4,
        }
    }
}

impl ShardEntry {
    /// The shard's files: the end of the name, and what it must be.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &FileEntry)> {
        let lengths = self.lengths.as_ref().map(|file| ("lengths", file));
        [("tokens", &self.tokens), ("marks", &self.marks)].into_iter().chain(lengths)
    }
}

/// Of a file of the index-th shard.
pub(crate) fn shard_file(folder: &Path, index: usize, kind: &str) -> PathBuf {
    folder.join(format!("{index:05}.{kind}"))
}

/// Whether this is a folder of tokens, whole or not.
pub(crate) fn is_token_folder(folder: &Path) -> bool {
    shard_file(folder, 0, "tokens").is_file()
        || fs::read_to_string(folder.join(NAME)).is_ok_and(|text| text.contains(FORMAT))
}

impl Manifest {
    pub(crate) fn new(layout: Layout, tokenizer: String, n_documents: u64, shards: Vec<ShardEntry>) -> Self {
        let sum = |of: fn(&ShardEntry) -> u64| shards.iter().map(of).sum();
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            layout,
            tokenizer,
            n_documents,
            n_tokens: sum(|shard| shard.n_tokens),
            n_bytes: sum(|shard| shard.n_bytes),
            shards,
        }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("numbers and strings are JSON")
    }

    /// Reads and checks what can be checked without the shards.
    pub(crate) fn read(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(NAME);
        if folder.is_dir() && !path.exists() && !is_token_folder(folder) {
            return Err(DataError::NoTokens { path: folder.to_owned() });
        }
        let refused = |reason: String| DataError::Manifest { path: path.clone(), reason };
        let json = fs::read(&path).map_err(reading(&path))?;
        let value: serde_json::Value = serde_json::from_slice(&json).map_err(|error| refused(error.to_string()))?;
        if value["format"] != FORMAT {
            return Err(refused(format!("`format` is not {FORMAT:?}")));
        }
        let found = value["version"].as_u64().ok_or_else(|| refused("`version` is no number".to_owned()))?;
        if found != VERSION {
            return Err(DataError::Version { path, found, known: VERSION });
        }
        let manifest: Self = serde_json::from_value(value).map_err(|error| refused(error.to_string()))?;
        manifest.check().map_err(refused)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let Layout { vocab_size, end_of_document, width, lengths } = self.layout;
        if end_of_document >= vocab_size || Layout::new(vocab_size, end_of_document, lengths).width != width {
            return Err(format!("token {end_of_document} and {width:?} do not fit a vocabulary of {vocab_size}"));
        }
        for (name, total, of) in [
            ("n_tokens", self.n_tokens, (|shard| shard.n_tokens) as fn(&ShardEntry) -> u64),
            ("n_bytes", self.n_bytes, |shard| shard.n_bytes),
        ] {
            let sum = self.shards.iter().map(of).try_fold(0u64, u64::checked_add);
            if sum != Some(total) {
                return Err(format!("`{name}` is {total}, the shards' make {sum:?}"));
            }
        }
        self.shards.iter().enumerate().try_for_each(|(index, shard)| shard.check(self.layout, index))
    }
}

impl ShardEntry {
    fn check(&self, layout: Layout, index: usize) -> Result<(), String> {
        let n = self.n_tokens;
        let expected = [
            ("tokens", n.checked_mul(layout.width.bytes()), Some(self.tokens.size)),
            ("marks", n.div_ceil(MARK_EVERY).checked_mul(8), Some(self.marks.size)),
            ("lengths", (layout.lengths == Lengths::Listed).then_some(n), self.lengths.as_ref().map(|file| file.size)),
        ];
        for (kind, expected, found) in expected {
            if expected != found {
                return Err(format!(
                    "shard {index} has {n} tokens, so `{kind}` needs {expected:?} bytes, not {found:?}"
                ));
            }
        }
        Ok(())
    }
}
