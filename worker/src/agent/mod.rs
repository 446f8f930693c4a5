//! A rank's process: an async side that talks to the coordinator, and one training thread that blocks.
//!
//! The async side (`Life`) holds one stream (`attachment`), shows that the rank lives, and carries orders and reports.
//! The training thread sees a `RankLink` and nothing of the network. They share a few words under a lock (`Shared`)
//! and a bounded channel of reports.

pub(crate) mod attachment;
#[cfg(test)]
pub(crate) mod fake;
mod life;
mod link;
#[cfg(test)]
mod tests;
mod wire;
mod words;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tonic::transport::Endpoint as Coordinator;

pub use link::{Orphaned, RankLink};
pub use words::{Configure, Failure, Order, Report, SessionEnd, Stop};

use crate::comm::{Endpoint, Nic, threads};
use life::Life;
use link::Shared;

/// Reports that wait for the coordinator; more than a training thread makes in several steps.
const REPORTS_MAX: usize = 64;
/// Orders that wait for the async side, which never blocks.
const CONTACTS_MAX: usize = 16;
/// LibTorch walks graphs by recursion.
const STACK_BYTES: usize = 64 << 20;

/// The command line of a rank; node agents write it.
#[derive(Clone, Debug, clap::Args)]
pub struct RankArgs {
    /// The coordinator's address.
    #[arg(long, value_name = "URL")]
    pub join: String,
    /// The job's id.
    #[arg(long)]
    pub job: String,
    /// Which start of the job this is.
    #[arg(long)]
    pub attempt: u32,
    /// The seat in the job's grid.
    #[arg(long)]
    pub rank: u32,
    /// What to compute on: cpu or cuda:N.
    #[arg(long)]
    pub device: String,
    /// Threads inside LibTorch.
    #[arg(long, default_value_t = 1)]
    pub threads: u32,
    /// Where to listen for peers, the best first.
    #[arg(long = "address", value_name = "IP[@PLANE]")]
    pub addresses: Vec<Nic>,
    /// More than one: be all of so many ranks of the job, as threads.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub ranks_in_process: u32,
}

/// What a rank is, to the coordinator and to itself.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) join: String,
    pub(crate) job: String,
    pub(crate) attempt: u32,
    pub(crate) rank: u32,
    pub(crate) addresses: Vec<Nic>,
}

/// How a rank's process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    end: SessionEnd,
    /// Whether the coordinator has been told.
    is_known: bool,
}

/// Runs `body` on the training thread, or on one for each rank of this process, and everything else around it. Returns
/// when both sides have ended. Ranks of one process get their ends of what joins them.
pub fn run<F>(args: RankArgs, body: F) -> ExitCode
where
    F: FnOnce(RankLink, Option<Endpoint>) -> SessionEnd + Clone + Send + 'static,
{
    tracing::info!("on {}, {} threads", args.device, args.threads);
    let token = std::env::var("DSCTL_TOKEN").unwrap_or_default();
    let outcomes = attachment::endpoint(&args.join)
        .map_err(|reason| format!("--join {}: {reason}", args.join))
        .and_then(|coordinator| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| format!("the system refuses a runtime: {error}"))?;
            Ok(runtime.block_on(serve_all(args, coordinator, token, body)))
        });
    match outcomes {
        // Whoever fails takes the others along.
        Ok(outcomes) if outcomes.iter().map(conclude).filter(|went_well| !went_well).count() > 0 => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(reason) => {
            tracing::error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Every rank of this process.
async fn serve_all<F>(args: RankArgs, coordinator: Coordinator, token: String, body: F) -> Vec<Outcome>
where
    F: FnOnce(RankLink, Option<Endpoint>) -> SessionEnd + Clone + Send + 'static,
{
    if args.ranks_in_process <= 1 {
        return vec![serve(args, coordinator, token, |link| body(link, None)).await];
    }
    let mut ranks = JoinSet::new();
    for (rank, endpoint) in (0..).zip(threads(args.ranks_in_process as usize)) {
        let (args, coordinator, token) = (RankArgs { rank, ..args.clone() }, coordinator.clone(), token.clone());
        let body = body.clone();
        ranks.spawn(serve(args, coordinator, token, move |link| body(link, Some(endpoint))));
    }
    ranks.join_all().await
}

async fn serve(
    args: RankArgs,
    coordinator: Coordinator,
    token: String,
    body: impl FnOnce(RankLink) -> SessionEnd + Send + 'static,
) -> Outcome {
    // Having a listener is what keeps an interrupt from ending the process; dsctl decides what Ctrl-C means.
    let _interrupts = signal(SignalKind::interrupt());
    let RankArgs { join, job, attempt, rank, threads, addresses, .. } = args;
    let shared = Arc::new(Shared::new());
    let (report_sender, reports) = mpsc::channel(REPORTS_MAX);
    let (contact_sender, contacts) = mpsc::channel(CONTACTS_MAX);
    let ended = train(threads, RankLink::new(rank, attempt, shared.clone(), report_sender), body);
    tokio::spawn(attachment::keep(wire::Ranks { token }, coordinator, contact_sender));
    let identity = Identity { join, job, attempt, rank, addresses };
    Life::new(identity, shared, contacts, reports).run(ended).await
}

/// Starts the training thread. It always says how it ended.
fn train(
    threads: u32,
    link: RankLink,
    body: impl FnOnce(RankLink) -> SessionEnd + Send + 'static,
) -> oneshot::Receiver<SessionEnd> {
    let (sender, ended) = oneshot::channel();
    let shared = link.shared();
    let name = format!("rank {}", link.rank());
    let training = move || {
        // The number belongs to the thread that sets it.
        tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(1));
        let end = catch_unwind(AssertUnwindSafe(|| body(link))).unwrap_or_else(|panic| {
            SessionEnd::Failed(Failure {
                kind: "bug",
                message: format!("the training thread panicked: {}", words_of(&*panic)),
                culprit: None,
                step: shared.step(),
            })
        });
        // Nobody waits for it only if the process is ending anyway.
        let _ = sender.send(end);
    };
    thread::Builder::new()
        .name(name)
        .stack_size(STACK_BYTES)
        .spawn(training)
        .expect("a process may start its second thread");
    ended
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}

/// Says how it ended; whether it went well.
fn conclude(Outcome { end, is_known }: &Outcome) -> bool {
    match end {
        SessionEnd::Finished { step } => tracing::info!("finished after step {step}"),
        SessionEnd::Stopped { step } => tracing::info!("stopped after step {step}"),
        SessionEnd::Failed(Failure { kind, message, step, .. }) => {
            tracing::error!("failed ({kind}) after step {step}: {message}");
            return false;
        }
    }
    if !is_known {
        tracing::error!("the coordinator does not know it");
    }
    *is_known
}
