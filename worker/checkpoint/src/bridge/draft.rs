//! The folder in which a bridge is built: the target's name with `.tmp` behind it, one process at a time, with a note of
//! every finished file so that a run that was killed goes on where it was.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::BridgeError;
use super::layout::FilePlan;
use crate::disk;

/// Bytes that are read at once to compare checksums.
const BLOCK: usize = 1 << 20;

/// A target that is not there yet.
#[derive(Debug)]
pub(super) struct Draft {
    target: PathBuf,
    folder: PathBuf,
    lock: PathBuf,
    /// Held as long as the draft is.
    _held: File,
}

/// A note of a finished file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// Of all that the run reads and how; another run's files are of no use.
    run: String,
    /// blake3 of the header.
    pub(super) header: String,
    /// blake3 of the tensors, in the order in which they lie.
    pub(super) tensors: Vec<String>,
}

impl Draft {
    /// Takes up the draft that an earlier run left, or makes one.
    pub(super) fn open(target: &Path) -> Result<Self, BridgeError> {
        let target = std::path::absolute(target).map_err(disk::written(target))?;
        absent(&target)?;
        let (folder, lock) = (beside(&target, ".tmp"), beside(&target, ".tmp.lock"));
        let there = fs::symlink_metadata(&folder);
        if there.is_ok_and(|meta| !meta.is_dir() || !(lock.is_file() || is_empty(&folder))) {
            return Err(BridgeError::InTheWay { path: folder });
        }
        if let Some(above) = folder.parent() {
            fs::create_dir_all(above).map_err(disk::written(above))?;
        }
        let held = File::options().create(true).append(true).open(&lock).map_err(disk::written(&lock))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BridgeError::Busy { path: folder }),
            Err(TryLockError::Error(source)) => return Err(disk::written(&lock)(source).into()),
        }
        let draft = Self { target, folder, lock, _held: held };
        // Whoever held the lock may have finished meanwhile.
        absent(&draft.target)?;
        fs::create_dir_all(&draft.folder).map_err(disk::written(&draft.folder))?;
        Ok(draft)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of a file that an earlier run left; 0 without one.
    pub(super) fn length_of(&self, file: &str) -> u64 {
        fs::symlink_metadata(self.folder.join(file)).map_or(0, |meta| meta.len())
    }

    /// Leaves it to a later run, unless there is nothing to go on with.
    pub(super) fn leave(self) -> Result<(), BridgeError> {
        if is_empty(&self.folder) { self.remove() } else { Ok(()) }
    }

    /// Notes that a file is finished, once it is on the disk.
    pub(super) fn note(&self, run: &str, plan: &FilePlan<'_>, tensors: Vec<String>) -> Result<Note, BridgeError> {
        let header = blake3::hash(&plan.header).to_hex().to_string();
        let note = Note { run: run.to_owned(), header, tensors };
        let text = serde_json::to_string(&note).expect("texts and lists make JSON");
        let (path, new) = (self.note_path(&plan.name), self.folder.join(format!("{}.note.new", plan.name)));
        disk::write(&new, [text.as_bytes()])?;
        disk::rename(&new, &path)?;
        disk::sync_folder(&self.folder)?;
        Ok(note)
    }

    /// The note of a file that an earlier run finished, if it is the same run's and every byte is as it was noted.
    /// `tick` is called with the bytes of every block.
    pub(super) fn finished(&self, run: &str, plan: &FilePlan<'_>, mut tick: impl FnMut(u64) -> bool) -> Option<Note> {
        let text = fs::read_to_string(self.note_path(&plan.name)).ok()?;
        let note: Note = serde_json::from_str(&text).ok()?;
        let same = note.run == run
            && note.header == blake3::hash(&plan.header).to_hex().to_string()
            && note.tensors.len() == plan.tensors.len();
        let path = self.folder.join(&plan.name);
        let file = File::open(&path).ok()?;
        if !same || file.metadata().ok()?.len() != plan.length {
            return None;
        }
        let mut header = vec![0; plan.header.len()];
        file.read_exact_at(&mut header, 0).ok()?;
        if header != plan.header {
            return None;
        }
        let mut block = vec![0; BLOCK];
        for (placed, noted) in plan.tensors.iter().zip(&note.tensors) {
            let (mut hasher, mut done) = (blake3::Hasher::new(), 0);
            while done < placed.length {
                let n = (placed.length - done).min(BLOCK as u64);
                let block = &mut block[..n as usize];
                file.read_exact_at(block, placed.start + done).ok()?;
                hasher.update(block);
                done += n;
                if !tick(n) {
                    return None;
                }
            }
            if hasher.finalize().to_hex().as_str() != noted {
                return None;
            }
        }
        Some(note)
    }

    /// Writes a small file whole.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), BridgeError> {
        Ok(disk::write(&self.folder.join(name), [text.as_bytes()])?)
    }

    /// Removes all but `kept` and gives the draft its name.
    pub(super) fn publish(self, kept: impl Fn(&str) -> bool) -> Result<PathBuf, BridgeError> {
        let entries = fs::read_dir(&self.folder).map_err(disk::read(&self.folder))?;
        for entry in entries {
            let entry = entry.map_err(disk::read(&self.folder))?;
            if !entry.file_name().to_str().is_some_and(&kept) {
                disk::remove(&entry.path())?;
            }
        }
        disk::sync_folder(&self.folder)?;
        absent(&self.target)?;
        disk::rename(&self.folder, &self.target)?;
        disk::remove(&self.lock)?;
        if let Some(above) = self.target.parent() {
            // It may not be ours to open.
            let _ = disk::sync_folder(above);
        }
        Ok(self.target)
    }

    /// Removes all of it.
    pub(super) fn remove(self) -> Result<(), BridgeError> {
        disk::remove(&self.folder)?;
        Ok(disk::remove(&self.lock)?)
    }

    fn note_path(&self, file: &str) -> PathBuf {
        self.folder.join(format!("{file}.note"))
    }
}

fn absent(target: &Path) -> Result<(), BridgeError> {
    match fs::symlink_metadata(target) {
        Ok(_) => Err(BridgeError::Exists { path: target.to_owned() }),
        Err(_) => Ok(()),
    }
}

/// The target's name with more behind it.
fn beside(target: &Path, more: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(more);
    target.with_file_name(name)
}

fn is_empty(folder: &Path) -> bool {
    let first = |mut entries: fs::ReadDir| entries.next().is_none();
    fs::read_dir(folder).map(first).unwrap_or_else(|error| error.kind() == io::ErrorKind::NotFound)
}
