//! What both ways do once they know their files: work in a draft, and leave nothing half-written.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::draft::{Draft, Note};
use super::error::BridgeError;
use super::job::Job;
use super::layout::FilePlan;
use super::limits::{Limits, Room};
use super::room;
use super::workers::{Comparison, Progress, Report, Workers};

/// Everything that is read, compared and written.
pub(super) struct Crossing<'a> {
    /// What is read.
    pub(super) source: &'a Path,
    /// Of all that is read and how: what an earlier run finished counts if it is the same.
    pub(super) run: String,
    pub(super) comparisons: Vec<Comparison<'a>>,
    pub(super) files: Vec<FilePlan<'a>>,
}

impl Crossing<'_> {
    /// Works, hands the draft and the notes to `commit`, which publishes it. A draft that cannot become better by going
    /// on is removed.
    pub(super) fn run(
        &self,
        target: &Path,
        limits: Limits,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
        commit: impl FnOnce(&Draft, &[Note]) -> Result<(), BridgeError>,
        kept: impl Fn(&str) -> bool,
    ) -> Result<(PathBuf, Report), BridgeError> {
        let room = self.room(limits)?;
        let draft = Draft::open(target)?;
        let workers = Workers { draft: &draft, run: &self.run, room, source: self.source };
        let mut work = || workers.work(&self.comparisons, &self.files, progress);
        let outcome = room::enough(&draft, &self.files).and_then(|()| work()).and_then(|notes| {
            let (notes, resumed): (Vec<Note>, Vec<bool>) = notes.into_iter().unzip();
            commit(&draft, &notes)?;
            Ok(resumed.into_iter().filter(|resumed| *resumed).count())
        });
        match outcome {
            Ok(n_resumed) => Ok((draft.publish(kept)?, Report { n_resumed, ..self.report() })),
            Err(error) => {
                if error.may_pass() { draft.leave() } else { draft.remove() }?;
                Err(error)
            }
        }
    }

    /// What will be there.
    pub(super) fn report(&self) -> Report {
        Report {
            n_files: self.files.len(),
            n_resumed: 0,
            n_tensors: self.files.iter().map(|file| file.tensors.len()).sum(),
            bytes: self.files.iter().map(|file| file.length).sum(),
        }
    }

    fn room(&self, limits: Limits) -> Result<Room, BridgeError> {
        let jobs = || self.files.iter().flat_map(|file| &file.jobs).map(|(job, _)| job);
        let memory = |job: &&Job<'_>| job.work.memory();
        let largest = jobs().max_by_key(memory).map_or((0, ""), |job| (memory(&job), job.targets[0].key.as_str()));
        let n_tensors = self.report().n_tensors;
        limits.room(self.files.len() + self.comparisons.len(), n_tensors, largest)
    }
}

/// A checksum of parts, each with its length.
pub(super) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex().to_string()
}
