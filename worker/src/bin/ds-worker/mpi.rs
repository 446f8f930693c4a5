//! `mpirun -np N ds-worker mpi JOB`: every process is a rank. stdout has what rank 0 measures, a JSON document a line.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use ds_plan::spec::{Problems, read};
use ds_worker::agent::Report;
use ds_worker::comm::{CommError, Mpi};
use ds_worker::error::RankError;
use ds_worker::session::under_mpi;
use serde_json::json;

use crate::page::talk;
use crate::telemetry;

/// The command line.
#[derive(clap::Args)]
pub(crate) struct MpiArgs {
    /// The job, as dsctl launches it
    #[arg(value_name = "JOB")]
    job: PathBuf,
    /// Another value at a key of the job; repeat it for several
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    sets: Vec<(String, String)>,
    /// Where checkpoints and tokens lie; a run goes on from its newest checkpoint
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
}

/// Why a process ends early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read {}: {source}", path.display())]
    Job { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Spec(#[from] Problems),
    #[error(transparent)]
    Mpi(#[from] CommError),
    #[error(transparent)]
    Rank(#[from] RankError),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Mpi(_) => 1,
            Self::Rank(error) if error.kind() != "user" => 1,
            _ => 64,
        }
    }
}

impl MpiArgs {
    pub(crate) fn run(self) -> ExitCode {
        match self.train() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                talk(format_args!("error: {failure}"));
                ExitCode::from(failure.code())
            }
        }
    }

    fn train(&self) -> Result<(), Failure> {
        let mpi = Mpi::start()?;
        telemetry::init(format!("rank {}", mpi.rank().0));
        let text = fs::read_to_string(&self.job).map_err(|source| Failure::Job { path: self.job.clone(), source })?;
        let spec = read(&text, &self.job.to_string_lossy(), &self.sets)?.spec;
        under_mpi(&mpi, spec, &self.folder, &mut tell)?;
        Ok(())
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or_else(|| "write KEY=VALUE".to_owned())?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

fn tell(report: &Report) {
    let line = match report {
        Report::Step(metrics) => json!(metrics),
        Report::Evaluation(evaluation) => json!({ "evaluation": evaluation }),
        Report::Checkpoint { step, folder, .. } => json!({ "checkpoint": folder, "step": step }),
        _ => return,
    };
    // Whoever closed stdout has enough; the job goes on.
    let _ = writeln!(std::io::stdout(), "{line}");
}
