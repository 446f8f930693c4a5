//! `dsctl ckpt`: checkpoints, as they lie on disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use ds_checkpoint::{Checkpoint, CheckpointError, Record};
use ds_plan::spec::read;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::home::HomeArgs;
use crate::output::{self, Exit, Format, FormatArgs, data};
use crate::show::numbers::{bytes, count};
use crate::show::table::table;

/// Look at checkpoints: which there are, whether they are whole, what they hold
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show every checkpoint of a job or folder
    List(Target),
    /// Read every byte of every checkpoint of a job or folder and compare checksums
    Verify(Target),
    /// Show what a checkpoint holds; of a job or folder, the newest whole one
    Show(Show),
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::List(target) => target.list(),
            Command::Verify(target) => target.verify(),
            Command::Show(show) => show.run(),
        }
    }
}

#[derive(clap::Args)]
struct Target {
    /// A checkpoint, a folder of them, or a job: its id or `last`
    #[arg(value_name = "DIR|JOB")]
    target: PathBuf,
    #[command(flatten)]
    home: HomeArgs,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(clap::Args)]
struct Show {
    #[command(flatten)]
    target: Target,
    /// Every record, too
    #[arg(long)]
    records: bool,
}

impl Target {
    fn list(&self) -> Result<Exit, Failure> {
        let found = self.checkpoints()?;
        let rows = found.iter().map(|path| (path, Checkpoint::open(path).map(|whole| whole.state().step))).collect();
        self.print(rows, "readable")
    }

    fn verify(&self) -> Result<Exit, Failure> {
        let whole = |path: &PathBuf| {
            let checkpoint = Checkpoint::open(path)?;
            checkpoint.verify()?;
            Ok(checkpoint.state().step)
        };
        let found = self.checkpoints()?;
        let rows = found.iter().map(|path| (path, whole(path))).collect();
        self.print(rows, "whole")
    }

    /// One that is broken makes the command fail.
    fn print(&self, rows: Vec<(&PathBuf, Result<u64, CheckpointError>)>, good: &str) -> Result<Exit, Failure> {
        let is_good = rows.iter().all(|(_, result)| result.is_ok());
        match self.format.format {
            Format::Json => {
                let row = |(path, result): &(&PathBuf, Result<u64, CheckpointError>)| {
                    json!({
                        "folder": path.display().to_string(),
                        "step": result.as_ref().ok(),
                        "state": if result.is_ok() { good } else { "broken" },
                        "reason": result.as_ref().err().map(ToString::to_string),
                    })
                };
                output::json(&rows.iter().map(row).collect::<Value>())?;
            }
            Format::Text => {
                let row = |(path, result): &(&PathBuf, Result<u64, CheckpointError>)| match result {
                    Ok(step) => vec![step.to_string(), good.to_owned(), path.display().to_string()],
                    Err(error) => vec!["-".to_owned(), "broken".to_owned(), error.to_string()],
                };
                data(table(&["step", "state", "folder"], &rows.iter().map(row).collect::<Vec<_>>()).join("\n"))?;
            }
        }
        Ok(if is_good { Exit::Done } else { Exit::Failed })
    }

    /// Oldest first; at least one.
    fn checkpoints(&self) -> Result<Vec<PathBuf>, Failure> {
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

impl Show {
    fn run(self) -> Result<Exit, Failure> {
        let found = self.target.checkpoints()?;
        let whole = |path: &PathBuf| Checkpoint::open(path).map(|checkpoint| (path.clone(), checkpoint));
        // The newest that opens; if none does, why the newest does not.
        let opened = found.iter().rev().find_map(|path| whole(path).ok());
        let (path, checkpoint) = match (opened, found.last()) {
            (Some(opened), _) => opened,
            (None, Some(newest)) => whole(newest)?,
            (None, None) => return Err(Failure::NoCheckpoint { path: self.target.target }),
        };
        match self.target.format.format {
            Format::Json => output::json(&self.facts(&path, &checkpoint))?,
            Format::Text => data(self.lines(&path, &checkpoint).join("\n"))?,
        }
        Ok(Exit::Done)
    }

    fn facts(&self, path: &Path, checkpoint: &Checkpoint) -> Value {
        let state = checkpoint.state();
        let kind = |(kind, held): (&String, &Held)| {
            (kind.clone(), json!({ "records": held.records, "elements": held.elements, "bytes": held.bytes }))
        };
        let mut facts = json!({
            "folder": path.display().to_string(),
            "step": state.step,
            "next_sample": state.next_sample,
            "seed": state.seed,
            "kinds": held(checkpoint).iter().map(kind).collect::<serde_json::Map<_, _>>(),
        });
        if self.records {
            let record = |record: &Record| json!({ "name": record.name, "kind": kind_of(record), "shape": record.shape, "dtype": dtype_of(record) });
            facts["records"] = checkpoint.records().iter().map(record).collect();
        }
        facts
    }

    fn lines(&self, path: &Path, checkpoint: &Checkpoint) -> Vec<String> {
        let state = checkpoint.state();
        let mut lines = vec![
            path.display().to_string(),
            format!("step {}, next sample {}, seed {}", state.step, state.next_sample, state.seed),
            String::new(),
        ];
        let row = |(kind, held): (&String, &Held)| {
            vec![kind.clone(), held.records.to_string(), count(held.elements as f64), bytes(held.bytes)]
        };
        let rows: Vec<Vec<String>> = held(checkpoint).iter().map(row).collect();
        lines.extend(table(&["kind", "records", "elements", "bytes"], &rows));
        if self.records {
            let row = |record: &Record| {
                vec![record.name.clone(), kind_of(record), format!("{:?}", record.shape), dtype_of(record)]
            };
            lines.push(String::new());
            let rows: Vec<Vec<String>> = checkpoint.records().iter().map(row).collect();
            lines.extend(table(&["name", "kind", "shape", "type"], &rows));
        }
        lines
    }
}

/// All records of one kind.
#[derive(Default)]
struct Held {
    records: u64,
    elements: u64,
    bytes: u64,
}

fn held(checkpoint: &Checkpoint) -> BTreeMap<String, Held> {
    let mut kinds: BTreeMap<String, Held> = BTreeMap::new();
    for record in checkpoint.records() {
        let held = kinds.entry(kind_of(record)).or_default();
        let elements: u64 = record.shape.iter().product();
        held.records += 1;
        held.elements += elements;
        held.bytes += elements * record.dtype.size() as u64;
    }
    kinds
}

fn kind_of(record: &Record) -> String {
    format!("{:?}", record.kind).to_lowercase()
}

fn dtype_of(record: &Record) -> String {
    format!("{:?}", record.dtype).to_lowercase()
}
