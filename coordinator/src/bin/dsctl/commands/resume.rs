//! `dsctl resume`: go on with a job that failed or was stopped.

use std::fs;

use ds_plan::spec::read;
use ds_plan::{JobPlan, executable};

use crate::data::find_data;
use crate::facts::state;
use crate::failure::Failure;
use crate::home::Home;
use crate::link::{LinkArgs, pick};
use crate::node::Worker;
use crate::output::{Exit, FormatArgs};
use crate::place::{Wish, hand_in, here, in_background, run, there};
use crate::room::fits_here;

/// Go on with a job that failed or was stopped, from its newest whole checkpoint
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A job's id, the beginning of one, or `last`
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    link: LinkArgs,
    /// Return as soon as it is accepted
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let format = self.format.format;
        run(async {
            let Some(mut client) = self.link.running().await? else { return self.on_this_machine().await };
            let wish = Wish::Again { job: pick(&self.job, client.list().await?)?.id };
            if self.detach { hand_in(client, &wish, format).await } else { there(client, &wish, format).await }
        })
    }

    async fn on_this_machine(&self) -> Result<Exit, Failure> {
        let format = self.format.format;
        let home = self.link.home.find()?;
        let mut link = self.link.open().await?;
        let job = link.find(&self.job).await;
        link.close().await;
        let job = job?;
        if state(&job) == "done" {
            return Err(Failure::AlreadyDone { job: job.id });
        }
        look(&home, &job.id)?;
        let worker = Worker::find()?;
        home.make()?;
        let wish = Wish::Again { job: job.id };
        if self.detach { in_background(&home, &wish, format).await } else { here(&home, &worker, &wish, format).await }
    }
}

/// Whether what the job needs is still there.
fn look(home: &Home, job: &str) -> Result<(), Failure> {
    let path = home.run(job).join("job.yaml");
    let text = fs::read_to_string(&path).map_err(|source| Failure::Read { path: path.clone(), source })?;
    let plan = JobPlan::new(read(&text, &path.to_string_lossy(), &[])?.spec)?;
    executable(plan.spec())?;
    find_data(plan.spec())?;
    fits_here(&plan)
}
