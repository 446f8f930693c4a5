//! A checkpoint that is being written: one folder, one file a writer, then one commit.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{CheckpointError, Rule};
use crate::folder::{self, Form};
use crate::manifest::{self, Manifest};
use crate::part::{self, Part};
use crate::record::{Dtype, Record, RecordKind, key, label};
use crate::state::TrainState;
use crate::{companions, disk, rules, tensor_file};

/// A box of a logical tensor that a writer hands in.
#[derive(Clone, Copy, Debug)]
pub struct Shard<'a> {
    /// The logical name.
    pub name: &'a str,
    /// What it is to its parameter.
    pub kind: RecordKind,
    /// Of every element.
    pub dtype: Dtype,
    /// Of the whole tensor.
    pub shape: &'a [u64],
    /// Which box of it, half open, one a dimension.
    pub range: &'a [Range<u64>],
    /// The box's elements, row-major, little-endian.
    pub bytes: &'a [u8],
}

impl Shard<'_> {
    pub(crate) fn key(&self) -> String {
        key(self.kind, self.name, self.shape, self.range)
    }
}

/// A step's checkpoint before its commit. Every writer has one; they mean the same folder.
#[derive(Debug)]
pub struct Draft {
    root: PathBuf,
    step: u64,
}

impl Draft {
    /// Makes the folder, if no other writer has. Whoever calls it first and whoever calls it again find the same.
    ///
    /// What interrupted saves of other steps left goes, so that their space is free; of this step's, a writer replaces
    /// its own file and the commit removes the others. So a call takes nothing from writers that write already. One
    /// root is saved to one step at a time.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn create(root: &Path, step: u64) -> Result<Self, CheckpointError> {
        let is_new = !root.is_dir();
        fs::create_dir_all(root).map_err(disk::written(root))?;
        if let Some(above) = root.parent().filter(|_| is_new) {
            // Above lie folders that may not be ours to open.
            let _ = disk::sync_folder(above);
        }
        let draft = Self { root: root.to_owned(), step };
        let others = folder::list(root)?.into_iter().filter(|found| found.form == Form::Draft && found.step != step);
        for other in others {
            // Several writers may be at it, and what stays costs space only.
            let _ = disk::remove(&other.path);
        }
        match fs::create_dir(draft.path()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && draft.path().is_dir() => Ok(draft),
            Err(error) => Err(disk::written(&draft.path())(error)),
            Ok(()) => Ok(draft),
        }
    }

    /// Writes one writer's file through to the disk. Writers count from 0; each writes once, with no shards too.
    ///
    /// # Errors
    /// When a shard contradicts itself or another, or the file cannot be written (then nothing of it stays).
    pub fn write(&self, writer: u32, shards: &[Shard<'_>]) -> Result<Part, CheckpointError> {
        let (folder, name) = (self.path(), tensor_file::name(writer));
        let mut keys = HashSet::new();
        for shard in shards {
            self.check(shard, &name, &mut keys)?;
        }
        let (file, pieces) = tensor_file::write(&folder, name, shards)?;
        let record = |(shard, piece): (&Shard<'_>, _)| Record {
            name: shard.name.to_owned(),
            kind: shard.kind,
            dtype: shard.dtype,
            shape: shard.shape.to_vec(),
            pieces: vec![piece],
        };
        Ok(Part { step: self.step, writer, file, records: shards.iter().zip(pieces).map(record).collect() })
    }

    fn check(&self, shard: &Shard<'_>, file: &str, keys: &mut HashSet<String>) -> Result<(), CheckpointError> {
        let twice = || Rule::Overlap {
            first: shard.range.to_vec(),
            first_file: file.to_owned(),
            second: shard.range.to_vec(),
            second_file: file.to_owned(),
        };
        let fits = rules::box_fits(shard.shape, shard.dtype, shard.range, shard.bytes.len() as u64);
        let rule = fits.and_then(|()| if keys.insert(shard.key()) { Ok(()) } else { Err(twice()) });
        rule.map_err(|rule| CheckpointError::Record {
            path: self.path().join(file),
            record: label(shard.kind, shard.name),
            rule: Box::new(rule),
        })
    }

    /// Makes the parts a checkpoint, or leaves everything that was there as it was. One that is there of this step is
    /// replaced. One writer calls it, after all have written.
    ///
    /// # Errors
    /// When the parts are not those of one save, or do not cover every tensor exactly, or the disk refuses.
    pub fn commit(self, parts: Vec<Part>, state: &TrainState) -> Result<(), CheckpointError> {
        seal(&self.path(), self.step, parts, state)?;
        self.publish()
    }

    /// Gives the draft its final name. What had that name steps aside first and goes last, so that at any moment one
    /// of both can be found.
    fn publish(&self) -> Result<(), CheckpointError> {
        let (draft, path, aside) = (self.path(), self.folder(), folder::aside(&self.root, self.step));
        if path.exists() {
            disk::remove(&aside)?;
            disk::rename(&path, &aside)?;
        }
        if let Err(error) = disk::rename(&draft, &path) {
            let _ = fs::rename(&aside, &path);
            return Err(error);
        }
        disk::sync_folder(&self.root)?;
        disk::remove(&aside)
    }

    /// Where the checkpoint will be after the commit.
    pub fn folder(&self) -> PathBuf {
        folder::whole(&self.root, self.step)
    }

    fn path(&self) -> PathBuf {
        folder::draft(&self.root, self.step)
    }
}

/// Makes the parts in a folder a checkpoint, but for its name.
pub(crate) fn seal(folder: &Path, step: u64, parts: Vec<Part>, state: &TrainState) -> Result<(), CheckpointError> {
    let (files, records) = part::join(folder, step, parts)?;
    if state.step != step {
        let reason = format!("the state is of step {}, the draft of {step}", state.step);
        return Err(CheckpointError::Parts { path: folder.to_owned(), reason });
    }
    let mut state = state.clone();
    state.spec_hash = tensor_file::checksum(state.spec_yaml.as_bytes());
    let manifest = Manifest::new(state, files, records);
    rules::check(folder, &manifest)?;
    remove_strangers(folder, &manifest)?;
    manifest.write(folder)?;
    disk::sync_folder(folder)
}

/// Removes what an earlier attempt left of the same step.
fn remove_strangers(folder: &Path, manifest: &Manifest) -> Result<(), CheckpointError> {
    let companions = manifest.state.has_companions().then_some(companions::FOLDER);
    let ours = manifest.files.iter().map(|file| file.name.as_str()).chain([manifest::NAME]).chain(companions);
    let ours: HashSet<&str> = ours.collect();
    for entry in fs::read_dir(folder).map_err(disk::read(folder))? {
        let entry = entry.map_err(disk::read(folder))?;
        if !entry.file_name().to_str().is_some_and(|name| ours.contains(name)) {
            disk::remove(&entry.path())?;
        }
    }
    Ok(())
}
