//! A committed checkpoint, readable from any layout.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::CheckpointError;
use crate::manifest::{FileEntry, Manifest};
use crate::record::{Dtype, Piece, Record, RecordKind, label};
use crate::state::TrainState;
use crate::{boxes, companions, rules, tensor_file};

/// Threads that verify at most; a disk seldom feeds more.
const MAX_THREADS: usize = 8;

/// A checkpoint whose manifest is whole and whose files have their lengths; pieces are checked when they are read.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    manifest: Manifest,
}

impl Checkpoint {
    /// Opens a checkpoint, whatever its folder is called, unless it is a draft. Reads no tensor.
    ///
    /// # Errors
    /// When the manifest is missing, damaged, of a later format or contradicts itself, or a file is missing or has
    /// another length.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("step-") && name.ends_with(".tmp") {
            return Err(CheckpointError::NotCommitted { path: folder.to_owned() });
        }
        let manifest = Manifest::read(folder)?;
        rules::check(folder, &manifest)?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// Where training stood.
    pub fn state(&self) -> &TrainState {
        &self.manifest.state
    }

    /// Every tensor, in the order of (name, kind).
    pub fn records(&self) -> &[Record] {
        &self.manifest.records
    }

    /// What whoever uses the model reads: the weights, or their moving averages.
    ///
    /// # Errors
    /// When there are no averages.
    pub fn weights(&self, ema: bool) -> Result<RecordKind, CheckpointError> {
        match ema {
            false => Ok(RecordKind::Weight),
            true if self.records().iter().any(|record| record.kind == RecordKind::Ema) => Ok(RecordKind::Ema),
            true => Err(CheckpointError::NoAverages { path: self.folder.clone() }),
        }
    }

    /// A box of a tensor (half open, one range a dimension): the type and the bytes of its elements, row-major. The
    /// pieces that it touches are read whole, to compare their checksums.
    ///
    /// # Errors
    /// When there is no such tensor or box, or a piece is damaged.
    pub fn read(
        &self,
        name: &str,
        kind: RecordKind,
        range: &[Range<u64>],
    ) -> Result<(Dtype, Vec<u8>), CheckpointError> {
        let record = self.record(name, kind)?;
        let length = rules::box_bytes(&record.shape, record.dtype, range).map_err(|rule| CheckpointError::Record {
            path: self.folder.clone(),
            record: label(kind, name),
            rule: Box::new(rule),
        })?;
        if let Some(piece) = record.pieces.iter().find(|piece| piece.range == range) {
            return Ok((record.dtype, tensor_file::read_piece(&self.folder, record, piece)?));
        }
        let mut bytes = vec![0; length as usize];
        for piece in record.pieces.iter().filter(|piece| boxes::common(&piece.range, range).is_some()) {
            let held = tensor_file::read_piece(&self.folder, record, piece)?;
            boxes::copy(&held, &piece.range, &mut bytes, range, record.dtype.size());
        }
        Ok((record.dtype, bytes))
    }

    /// All of a tensor, which must have this shape: the type and the bytes of its elements, row-major.
    ///
    /// # Errors
    /// When there is no such tensor, it has another shape, or a piece is damaged.
    pub fn read_whole(&self, name: &str, kind: RecordKind, shape: &[u64]) -> Result<(Dtype, Vec<u8>), CheckpointError> {
        let found = &self.record(name, kind)?.shape;
        if found != shape {
            let (path, record) = (self.folder.clone(), label(kind, name));
            return Err(CheckpointError::Shape { path, record, found: found.clone(), expected: shape.to_vec() });
        }
        self.read(name, kind, &shape.iter().map(|&size| 0..size).collect::<Vec<_>>())
    }

    fn record(&self, name: &str, kind: RecordKind) -> Result<&Record, CheckpointError> {
        let records = &self.manifest.records;
        let found = records.binary_search_by(|record| (record.name.as_str(), record.kind).cmp(&(name, kind)));
        found.map(|i| &records[i]).map_err(|_| CheckpointError::NoSuchRecord {
            path: self.folder.clone(),
            record: label(kind, name),
            there: records.iter().filter(|record| record.name == name).map(|r| r.kind.to_string()).collect(),
        })
    }

    /// Reads every byte and compares every checksum.
    ///
    /// # Errors
    /// The first file or tensor, in the order of writers, that is not as it was written.
    pub fn verify(&self) -> Result<(), CheckpointError> {
        let mut held: HashMap<&str, Vec<(&Record, &Piece)>> = HashMap::new();
        for record in self.records() {
            for piece in &record.pieces {
                held.entry(piece.file.as_str()).or_default().push((record, piece));
            }
        }
        let files = &self.manifest.files;
        let check = |file: &FileEntry| {
            let mut pieces = held.get(file.name.as_str()).cloned().unwrap_or_default();
            pieces.sort_by_key(|(_, piece)| piece.offset);
            tensor_file::verify(&self.folder, file, &pieces)
        };
        side_by_side(files, check).into_iter().collect::<Result<(), _>>()?;
        self.state().companions().iter().try_for_each(|companion| companions::check(&self.folder, companion))
    }
}

/// `work` on every item, on several threads; results in the order of items.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let n_threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(items.len());
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { return done };
            done.push((i, work(item)));
        }
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it panics only if `work` does")).collect()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}
