//! `dsctl watch`: a job as it goes, from its first step on.

use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::link::{Link, LinkArgs};
use crate::output::{Exit, FormatArgs};
use crate::place::{run, tell};
use crate::watch::follow::{Ended, Follower, OnInterrupt};
use crate::watch::screen::Screen;

/// Watch a job until it ends; Ctrl-C stops the watching, not the job
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
        run(async {
            let mut link = self.link.open().await?;
            let result = self.watch(&mut link).await;
            link.close().await;
            result
        })
    }

    async fn watch(&self, link: &mut Link) -> Result<Exit, Failure> {
        let job = link.find(&self.job).await?;
        let (client, is_patient) = match link {
            Link::Running(client) => (client.clone(), true),
            Link::Left(stored) => (stored.replay(&job)?, false),
            Link::Empty => return Err(Failure::NoJobs),
        };
        let mut interrupts = Interrupts::new()?;
        let mut screen = Screen::new();
        let (screen_of, interrupts) = (&mut screen, &mut interrupts);
        let on_interrupt = OnInterrupt::Leave;
        let follower = Follower { client, screen: screen_of, interrupts, on_interrupt, is_patient };
        let ended = follower.follow(&job.id).await;
        screen.close();
        let mut ended = ended?;
        if let Ended::Job(told) = &mut ended {
            // A coordinator that works on a copy knows another folder.
            told.job.folder = job.folder;
        }
        tell(ended, &job.id, self.format.format)
    }
}
