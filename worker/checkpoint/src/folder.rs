//! Checkpoints of a run: their names, the newest whole one, and those that are too old.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::checkpoint::Checkpoint;
use crate::disk;
use crate::error::CheckpointError;
use crate::manifest;

/// What a folder is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// `step-00000100`.
    Committed,
    /// `step-00000100.old`: one of the same step was about to replace it. It counts while nothing has its place.
    Aside,
    /// `step-00000100.tmp`.
    Draft,
}

/// A step's folder.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) step: u64,
    pub(crate) form: Form,
    pub(crate) path: PathBuf,
}

pub(crate) fn whole(root: &Path, step: u64) -> PathBuf {
    root.join(format!("step-{step:08}"))
}

pub(crate) fn draft(root: &Path, step: u64) -> PathBuf {
    root.join(format!("step-{step:08}.tmp"))
}

pub(crate) fn aside(root: &Path, step: u64) -> PathBuf {
    root.join(format!("step-{step:08}.old"))
}

/// Every folder that is named after a step, in the order of steps.
pub(crate) fn list(root: &Path) -> Result<Vec<Found>, CheckpointError> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(disk::read(root))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(disk::read(root))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some((step, form)) = parse(name) {
            found.push(Found { step, form, path });
        }
    }
    found.sort_by_key(|found| (found.step, found.form));
    Ok(found)
}

/// What a name says. Only names that we give: eight digits, more if the number needs them.
pub(crate) fn parse(name: &str) -> Option<(u64, Form)> {
    let rest = name.strip_prefix("step-")?;
    let (digits, form) = match rest.split_once('.') {
        None => (rest, Form::Committed),
        Some((digits, "old")) => (digits, Form::Aside),
        Some((digits, "tmp")) => (digits, Form::Draft),
        Some(_) => return None,
    };
    let step: u64 = digits.parse().ok()?;
    (format!("{step:08}") == digits).then_some((step, form))
}

/// Whether another of the same step has come where this one was.
fn is_replaced(one: &Found, found: &[Found]) -> bool {
    let in_place = |other: &Found| other.step == one.step && other.form == Form::Committed;
    one.form == Form::Aside && found.iter().any(in_place)
}

/// What [`newest_whole`] found.
#[derive(Debug, Default)]
pub struct Newest {
    /// The newest checkpoint whose every byte is as it was written.
    pub path: Option<PathBuf>,
    /// Why newer ones were passed over, newest first; each names its folder.
    pub broken: Vec<CheckpointError>,
}

/// The newest checkpoint of a run that is whole. Reads every byte of it, and nothing of older ones. A folder that is not
/// there has none.
///
/// # Errors
/// When the folder cannot be read.
pub fn newest_whole(root: &Path) -> Result<Newest, CheckpointError> {
    let found = list(root)?;
    let mut broken = Vec::new();
    for one in found.iter().rev().filter(|one| !is_replaced(one, &found)) {
        match open(one).and_then(|checkpoint| checkpoint.verify()) {
            Ok(()) => return Ok(Newest { path: Some(one.path.clone()), broken }),
            Err(error) => broken.push(error),
        }
    }
    Ok(Newest { path: None, broken })
}

/// Opens what lies under a step's name, if it is that step.
fn open(found: &Found) -> Result<Checkpoint, CheckpointError> {
    let checkpoint = Checkpoint::open(&found.path)?;
    match checkpoint.state().step {
        held if held == found.step => Ok(checkpoint),
        held => Err(CheckpointError::OtherStep { path: found.path.clone(), named: found.step, held }),
    }
}

/// Removes all that are older than the newest `keep` (at least one) whole checkpoints. Broken ones among the kept stay
/// to be looked at and do not count; drafts belong to who saves.
///
/// To be whole, here, means to open: a manifest that matches its checksum, and every file with its length. Bytes are
/// read only of steps newer than the one that was committed last: a run that passed them over because they were broken
/// has gone on from an older step, and what it saved must not go for their sake.
///
/// # Errors
/// When the folder cannot be read, or something too old not removed.
pub fn prune(root: &Path, keep: u32) -> Result<(), CheckpointError> {
    let found: Vec<Found> = list(root)?.into_iter().filter(|one| one.form != Form::Draft).collect();
    let last = found.iter().max_by_key(|one| (committed_at(one), one.step)).map_or(0, |one| one.step);
    let mut n_whole = 0;
    for one in found.iter().rev() {
        if n_whole >= keep.max(1) || is_replaced(one, &found) {
            disk::remove(&one.path)?;
        } else if open(one).is_ok_and(|checkpoint| one.step <= last || checkpoint.verify().is_ok()) {
            n_whole += 1;
        }
    }
    Ok(())
}

fn committed_at(one: &Found) -> Option<SystemTime> {
    fs::metadata(one.path.join(manifest::NAME)).and_then(|manifest| manifest.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_give_are_steps() {
        assert_eq!(parse("step-00000100"), Some((100, Form::Committed)));
        assert_eq!(parse("step-123456789"), Some((123_456_789, Form::Committed)));
        assert_eq!(parse("step-00000100.tmp"), Some((100, Form::Draft)));
        assert_eq!(parse("step-00000100.old"), Some((100, Form::Aside)));
        for other in ["step-100", "step-+0000100", "step-", "step-00000100.bak", "last", "step-99999999999999999999"] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(parse(&format!("step-{}", u64::MAX)), Some((u64::MAX, Form::Committed)));
    }
}
