//! `dsctl status`: everything about one job.

use crate::facts::{job_json, status_lines};
use crate::failure::Failure;
use crate::link::LinkArgs;
use crate::output::{Exit, Format, FormatArgs, Paint, data, json};
use crate::place::run;

/// Show everything about one job: state, step, seats, folder
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A job's id, the beginning of one, or `last`
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    link: LinkArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let job = run(async {
            let mut link = self.link.open().await?;
            let job = link.find(&self.job).await;
            link.close().await;
            job
        })?;
        match self.format.format {
            Format::Text => data(status_lines(&job, Paint::of_stdout()).join("\n"))?,
            Format::Json => json(&job_json(&job))?,
        }
        Ok(Exit::Done)
    }
}
