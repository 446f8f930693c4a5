//! `dsctl list`: every job.

use crate::facts::{job_json, job_lines};
use crate::failure::Failure;
use crate::link::LinkArgs;
use crate::output::{Exit, Format, FormatArgs, data, json};
use crate::place::run;

/// Show every job
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    link: LinkArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let jobs = run(async {
            let mut link = self.link.open().await?;
            let jobs = link.list().await;
            link.close().await;
            jobs
        })?;
        match self.format.format {
            Format::Text => data(job_lines(&jobs).join("\n"))?,
            Format::Json => json(&jobs.iter().map(job_json).collect())?,
        }
        Ok(Exit::Done)
    }
}
