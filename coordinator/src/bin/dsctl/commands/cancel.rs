//! `dsctl cancel`: stop a job.

use crate::client::Client;
use crate::facts::{job_json, state};
use crate::failure::Failure;
use crate::link::{LinkArgs, pick};
use crate::local::serve;
use crate::output::{Exit, Format, FormatArgs, data, json};
use crate::place::run;

/// Stop a job: after a checkpoint, or at once
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A job's id, the beginning of one, or `last`
    #[arg(value_name = "JOB")]
    job: String,
    /// Stop without a checkpoint
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    link: LinkArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let job = run(async {
            if let Some(client) = self.link.running().await? {
                return self.cancel(client).await;
            }
            let home = self.link.home.find()?;
            if !home.state().is_file() {
                return pick(&self.job, Vec::new());
            }
            // It waits for a coordinator that never comes; this one takes it off the list.
            let server = serve(&home).await?;
            let result = match Client::connect(&server.address().to_string(), server.token()).await {
                Ok(client) => self.cancel(client).await,
                Err(failure) => Err(failure),
            };
            server.shutdown().await;
            result
        })?;
        match self.format.format {
            Format::Text => data(format_args!("{} is {}", job.id, state(&job)))?,
            Format::Json => json(&job_json(&job))?,
        }
        Ok(Exit::Done)
    }

    async fn cancel(&self, mut client: Client) -> Result<ds_proto::v1::Job, Failure> {
        let job = pick(&self.job, client.list().await?)?;
        client.cancel(&job.id, self.now).await
    }
}
