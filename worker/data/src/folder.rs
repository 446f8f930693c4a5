//! A folder of tokens: opened, checked, cut into windows.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{DataError, reading};
use crate::manifest::{Manifest, shard_file};
use crate::shard::Shard;

/// Up to here checksums are compared whenever a folder is opened; beyond, only by [`TokenFolder::verify`].
const VERIFY_AT_OPEN: u64 = 128 << 20;

/// A folder of tokens. The files are memory-mapped, so opening a large one costs nothing.
#[derive(Debug)]
pub struct TokenFolder {
    path: PathBuf,
    manifest: Manifest,
    shards: Vec<Placed>,
}

/// A shard, and what comes before it.
#[derive(Debug)]
struct Placed {
    first_token: u64,
    first_byte: u64,
    shard: Shard,
}

impl TokenFolder {
    /// Opens what [`crate::prepare`] made, and compares every file's size with the manifest; small folders are compared
    /// checksum by checksum too.
    ///
    /// # Errors
    /// When it is no such folder, is of another version, or is not whole.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let manifest = Manifest::read(path)?;
        let mut shards = Vec::with_capacity(manifest.shards.len());
        let (mut first_token, mut first_byte) = (0, 0);
        for (index, entry) in manifest.shards.iter().enumerate() {
            let shard = Shard::open(path, index, entry, manifest.layout)?;
            shards.push(Placed { first_token, first_byte, shard });
            first_token += entry.n_tokens;
            first_byte += entry.n_bytes;
        }
        let folder = Self { path: path.to_owned(), manifest, shards };
        let files = folder.manifest.shards.iter().flat_map(|shard| shard.files());
        if files.map(|(_, file)| file.size).sum::<u64>() <= VERIFY_AT_OPEN {
            folder.verify()?;
        }
        Ok(folder)
    }

    /// Reads every file and compares its checksum.
    ///
    /// # Errors
    /// Names the first file that is not what was written.
    pub fn verify(&self) -> Result<(), DataError> {
        for (index, shard) in self.manifest.shards.iter().enumerate() {
            for (kind, file) in shard.files() {
                let path = shard_file(&self.path, index, kind);
                let found = checksum(&path)?;
                if found != file.blake3 {
                    return Err(DataError::Checksum { path, found, expected: file.blake3.clone() });
                }
            }
        }
        Ok(())
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tokens of all documents, with those that end them.
    pub fn n_tokens(&self) -> u64 {
        self.manifest.n_tokens
    }

    /// Bytes of text that the tokens stand for.
    pub fn n_bytes(&self) -> u64 {
        self.manifest.n_bytes
    }

    /// Documents, each with a token that ends it.
    pub fn n_documents(&self) -> u64 {
        self.manifest.n_documents
    }

    /// Every token is below it.
    pub fn vocab_size(&self) -> u32 {
        self.manifest.layout.vocab_size
    }

    /// The token that ends a document.
    pub fn end_of_document(&self) -> u32 {
        self.manifest.layout.end_of_document
    }

    /// Windows that are whole: `sequence` tokens and `extra` more behind each.
    pub fn n_windows(&self, sequence: u32, extra: u32) -> u64 {
        self.n_tokens().saturating_sub(u64::from(extra)).checked_div(u64::from(sequence)).unwrap_or(0)
    }

    /// Windows with at least one token to read and one to predict: all whole ones, and what is left at the end.
    pub fn n_windows_with_tail(&self, sequence: u32) -> u64 {
        match u64::from(sequence) {
            0 => 0,
            sequence => self.n_tokens().saturating_sub(1).div_ceil(sequence),
        }
    }

    /// The tokens of a window, from `index * sequence` on; fewer than `sequence + extra` where the row ends, none beyond.
    pub fn window(&self, index: u64, sequence: u32, extra: u32) -> Vec<u32> {
        let start = index.saturating_mul(u64::from(sequence));
        self.tokens(start..start.saturating_add(u64::from(sequence) + u64::from(extra)))
    }

    /// The tokens of a range of the row, as far as there are.
    pub fn tokens(&self, range: Range<u64>) -> Vec<u32> {
        let (start, end) = (range.start.min(self.n_tokens()), range.end.min(self.n_tokens()));
        let mut tokens = Vec::with_capacity(end.saturating_sub(start) as usize);
        let mut at = start;
        while at < end {
            let (placed, stop) = self.placed(at);
            let stop = stop.min(end);
            placed.shard.read(at - placed.first_token..stop - placed.first_token, &mut tokens);
            at = stop;
        }
        tokens
    }

    /// Bytes of text that a range of tokens stands for, as far as there are such tokens. Bytes between two tokens (such
    /// as blanks that a tokenizer drops) count with the later one, so that the sum over all tokens is the text's size.
    pub fn bytes_of(&self, range: Range<u64>) -> u64 {
        self.bytes_before(range.end).saturating_sub(self.bytes_before(range.start))
    }

    fn bytes_before(&self, token: u64) -> u64 {
        if token >= self.n_tokens() {
            return self.n_bytes();
        }
        let (placed, _) = self.placed(token);
        placed.first_byte + placed.shard.bytes_before(token - placed.first_token)
    }

    /// The shard that holds a token, and where the next begins.
    fn placed(&self, token: u64) -> (&Placed, u64) {
        let after = self.shards.partition_point(|placed| placed.first_token <= token);
        let end = self.shards.get(after).map_or(self.n_tokens(), |next| next.first_token);
        (&self.shards[after - 1], end)
    }
}

fn checksum(path: &Path) -> Result<String, DataError> {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(reading(path))?;
    hasher.update_reader(file).map_err(reading(path))?;
    Ok(hasher.finalize().to_string())
}
