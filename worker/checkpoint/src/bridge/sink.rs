//! Where bytes go: the tensors of a new safetensors file, each from its first byte to its last, with its checksum.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::error::BridgeError;
use super::layout::Placed;
use crate::disk;

/// A file that is being written; removed unless it is finished.
pub(super) struct OutFile {
    path: PathBuf,
    file: File,
    is_finished: bool,
}

impl OutFile {
    pub(super) fn create(path: &Path, header: &[u8]) -> Result<Self, BridgeError> {
        // Unlinked first: nothing is written through a link.
        disk::remove(path)?;
        let file = File::create_new(path).map_err(disk::written(path))?;
        file.write_all_at(header, 0).map_err(disk::written(path))?;
        Ok(Self { path: path.to_owned(), file, is_finished: false })
    }

    pub(super) fn sink(&self, placed: &Placed) -> Sink<'_> {
        Sink { out: self, at: placed.start, end: placed.start + placed.length, hasher: blake3::Hasher::new() }
    }

    /// Makes it last.
    pub(super) fn finish(mut self) -> Result<(), BridgeError> {
        self.file.sync_all().map_err(disk::written(&self.path))?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A tensor that is being written.
pub(super) struct Sink<'a> {
    out: &'a OutFile,
    at: u64,
    end: u64,
    hasher: blake3::Hasher,
}

impl Sink<'_> {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), BridgeError> {
        self.hasher.update(bytes);
        self.out.file.write_all_at(bytes, self.at).map_err(disk::written(&self.out.path))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// The checksum of all of it.
    pub(super) fn finish(self) -> String {
        assert_eq!(self.at, self.end, "a tensor gets the bytes that it has room for");
        self.hasher.finalize().to_hex().to_string()
    }
}
