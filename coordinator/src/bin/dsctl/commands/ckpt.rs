//! `dsctl ckpt`: checkpoints, as they lie on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use ds_checkpoint::{Checkpoint, CheckpointError, Record};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Exit, Format, FormatArgs, data};
use crate::show::numbers::{bytes, count};
use crate::show::table::table;
use crate::target::TargetArgs;

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
    #[command(flatten)]
    target: TargetArgs,
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
        let found = self.target.checkpoints()?;
        let rows = found.iter().map(|path| (path, Checkpoint::open(path).map(|whole| whole.state().step))).collect();
        self.print(rows, "readable")
    }

    fn verify(&self) -> Result<Exit, Failure> {
        let whole = |path: &PathBuf| {
            let checkpoint = Checkpoint::open(path)?;
            checkpoint.verify()?;
            Ok(checkpoint.state().step)
        };
        let found = self.target.checkpoints()?;
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
}

impl Show {
    fn run(self) -> Result<Exit, Failure> {
        let (path, checkpoint) = self.target.target.newest()?;
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
