//! Checkpoints that a command is about: a folder that is named, or what a job left.

use std::fs;
use std::path::{Path, PathBuf};

use ds_checkpoint::Checkpoint;
use ds_plan::spec::read;

use crate::failure::Failure;
use crate::home::HomeArgs;

/// Whose checkpoints.
#[derive(clap::Args)]
pub(crate) struct TargetArgs {
    /// A checkpoint, a folder of them, or a job: its id or `last`
    #[arg(value_name = "DIR|JOB")]
    target: PathBuf,
    #[command(flatten)]
    home: HomeArgs,
}

impl TargetArgs {
    /// Oldest first; at least one.
    pub(crate) fn checkpoints(&self) -> Result<Vec<PathBuf>, Failure> {
        let path = self.folder()?;
        if is_checkpoint(&path) {
            return Ok(vec![path]);
        }
        let failed = |source| Failure::Read { path: path.clone(), source };
        let entries = fs::read_dir(&path).map_err(failed)?.flatten().map(|entry| entry.path());
        let mut found: Vec<PathBuf> = entries.filter(|path| is_checkpoint(path)).collect();
        found.sort();
        if found.is_empty() { Err(Failure::NoCheckpoint { path }) } else { Ok(found) }
    }

    /// The newest that opens; if none does, why the newest does not.
    pub(crate) fn newest(&self) -> Result<(PathBuf, Checkpoint), Failure> {
        let mut newest = None;
        for path in self.checkpoints()?.into_iter().rev() {
            match Checkpoint::open(&path) {
                Ok(checkpoint) => return Ok((path, checkpoint)),
                Err(error) => drop(newest.get_or_insert(error)),
            }
        }
        Err(newest.map_or_else(|| Failure::NoCheckpoint { path: self.target.clone() }, Failure::Checkpoint))
    }

    /// What is named: a path that is there, or else a job of the home.
    fn folder(&self) -> Result<PathBuf, Failure> {
        if self.target.is_dir() {
            return std::path::absolute(&self.target)
                .map_err(|source| Failure::Read { path: self.target.clone(), source });
        }
        let home = self.home.find()?;
        let given = self.target.to_string_lossy().into_owned();
        let runs = runs(&home.runs());
        let job = match given.as_str() {
            "last" => runs.iter().max_by_key(|(made, _)| *made).map(|(_, id)| id.clone()).ok_or(Failure::NoJobs)?,
            given => {
                let found: Vec<String> =
                    runs.iter().map(|(_, id)| id.clone()).filter(|id| id.starts_with(given)).collect();
                match found.as_slice() {
                    [one] => one.clone(),
                    several if several.iter().any(|id| id == given) => given.to_owned(),
                    [] => return Err(Failure::NoSuchTarget { given: given.to_owned() }),
                    _ => return Err(Failure::AmbiguousJob { given: given.to_owned(), found }),
                }
            }
        };
        let run = home.run(&job);
        Ok(elsewhere(&run).unwrap_or_else(|| run.join("checkpoints")))
    }
}

/// Every run of a home, with the time when its folder was made.
fn runs(folder: &Path) -> Vec<(Option<std::time::SystemTime>, String)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    entries
        .map(|entry| {
            let made = entry.path().join("job.yaml").metadata().and_then(|meta| meta.modified()).ok();
            (made, entry.file_name().to_string_lossy().into_owned())
        })
        .collect()
}

/// `checkpoint.folder`, if the job names one.
fn elsewhere(run: &Path) -> Option<PathBuf> {
    let path = run.join("job.yaml");
    let text = fs::read_to_string(&path).ok()?;
    read(&text, &path.to_string_lossy(), &[]).ok()?.spec.checkpoint.folder
}

fn is_checkpoint(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let step = name.strip_prefix("step-").is_some_and(|step| step.bytes().all(|byte| byte.is_ascii_digit()));
    path.is_dir() && (step || path.join("manifest.json").is_file())
}
