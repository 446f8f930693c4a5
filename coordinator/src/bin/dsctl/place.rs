//! Where a job runs and who watches it: under a coordinator that is there, in this process, or in the background.

use std::future::Future;

use crate::background;
use crate::client::Client;
use crate::facts::{has_ended, state};
use crate::failure::Failure;
use crate::home::Home;
use crate::interrupts::Interrupts;
use crate::local::Local;
use crate::node::Worker;
use crate::output::{Exit, Format, data, json, log, talk};
use crate::sample;
use crate::watch::follow::{Ended, Follower, OnInterrupt};
use crate::watch::report;
use crate::watch::screen::Screen;

/// What is wanted of a coordinator.
pub(crate) enum Wish {
    /// A new job.
    New {
        spec_yaml: String,
        priority: Option<i32>,
        /// What its model is to continue when it is done.
        sample: Option<String>,
    },
    /// That a job which was stopped goes on.
    Again { job: String },
}

impl Wish {
    /// Hands it in; returns the job's id.
    async fn enter(&self, client: &mut Client) -> Result<String, Failure> {
        match self {
            Self::New { spec_yaml, priority, .. } => client.submit(spec_yaml.clone(), *priority).await,
            Self::Again { job } => {
                let now = client.get(job).await?;
                match state(&now) {
                    "done" => return Err(Failure::AlreadyDone { job: now.id }),
                    _ if has_ended(&now) => client.resume(&now.id).await.map(|_| ())?,
                    word => talk(format_args!("{} is {word} already", now.id)),
                }
                Ok(now.id)
            }
        }
    }

    /// Lets the model write, if that is wanted.
    async fn sample(&self, ended: &Ended) {
        if let (Self::New { sample: Some(prompt), .. }, Ended::Job(told)) = (self, ended) {
            sample::add(&told.job, prompt).await;
        }
    }

    fn job(&self) -> Option<&str> {
        match self {
            Self::New { .. } => None,
            Self::Again { job } => Some(job),
        }
    }
}

/// Everything that has to do with a coordinator, to its end on this thread.
pub(crate) fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(Failure::Runtime)?;
    let result = runtime.block_on(work);
    // A file that is still being read, or a trigram that is still counted, is of no use any more.
    runtime.shutdown_background();
    result
}

/// Under a coordinator that is there, watched.
pub(crate) async fn there(mut client: Client, wish: &Wish, format: Format) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::new()?;
    let job = wish.enter(&mut client).await?;
    talk(format_args!("{job} is with the coordinator at {}", client.address()));
    let mut screen = Screen::new();
    let (screen_of, interrupts) = (&mut screen, &mut interrupts);
    let on_interrupt = OnInterrupt::Stop;
    let follower = Follower { client, screen: screen_of, interrupts, on_interrupt, is_patient: true };
    let ended = follower.follow(&job).await;
    screen.close();
    let ended = ended?;
    wish.sample(&ended).await;
    tell(ended, &job, format)
}

/// Under a coordinator of this process, which ends with the job.
pub(crate) async fn here(home: &Home, worker: &Worker, wish: &Wish, format: Format) -> Result<Exit, Failure> {
    log(None);
    let mut interrupts = Interrupts::new()?;
    let mut local = Local::start(home, worker, wish.job()).await?;
    let mut client = local.client();
    let mut screen = Screen::new();
    let (screen_of, interrupts) = (&mut screen, &mut interrupts);
    let work = async {
        let job = wish.enter(&mut client).await?;
        talk(format_args!("{job} runs here; everything about it is in {}", home.run(&job).display()));
        let on_interrupt = OnInterrupt::Stop;
        let follower = Follower { client, screen: screen_of, interrupts, on_interrupt, is_patient: false };
        Ok((follower.follow(&job).await?, job))
    };
    let ended = local.during(work).await;
    screen.close();
    // What is left of the run is written before it is told.
    local.end().await;
    let (ended, job) = ended?;
    wish.sample(&ended).await;
    tell(ended, &job, format)
}

/// Under a coordinator in the background that is started for it.
pub(crate) async fn in_background(home: &Home, wish: &Wish, format: Format) -> Result<Exit, Failure> {
    let client = background::start(home, wish.job()).await?;
    hand_in(client, wish, format).await
}

/// Under a coordinator that is there, unwatched.
pub(crate) async fn hand_in(mut client: Client, wish: &Wish, format: Format) -> Result<Exit, Failure> {
    let job = wish.enter(&mut client).await?;
    match format {
        Format::Json => json(&serde_json::json!({ "job": job }))?,
        Format::Text => data(&job)?,
    }
    talk(format_args!("the coordinator at {} has it; dsctl watch {job} shows it", client.address()));
    Ok(Exit::Done)
}

/// How the watching ended, as facts or as a sentence.
pub(crate) fn tell(ended: Ended, job: &str, format: Format) -> Result<Exit, Failure> {
    match ended {
        Ended::Job(told) => report::print(&told, format),
        Ended::Left => {
            talk(format_args!("{job} goes on; dsctl watch {job} shows it again, dsctl cancel {job} stops it"));
            Ok(Exit::Done)
        }
        Ended::Abandoned => {
            talk(format_args!("left in the middle; dsctl resume {job} goes on from the newest whole checkpoint"));
            Ok(Exit::Failed)
        }
    }
}
