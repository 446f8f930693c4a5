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
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Endpoint;

pub use link::{Orphaned, RankLink};
pub use words::{Configure, Failure, Order, Report, SessionEnd, Stop};

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
    #[arg(long = "address", value_name = "IP")]
    pub addresses: Vec<IpAddr>,
}

/// What a rank is, to the coordinator and to itself.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) join: String,
    pub(crate) job: String,
    pub(crate) attempt: u32,
    pub(crate) rank: u32,
    pub(crate) addresses: Vec<IpAddr>,
}

/// How a rank's process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    end: SessionEnd,
    /// Whether the coordinator has been told.
    is_known: bool,
}

/// Runs `body` on the training thread, and everything else around it. Returns when both sides have ended.
pub fn run(args: RankArgs, body: impl FnOnce(RankLink) -> SessionEnd + Send + 'static) -> ExitCode {
    tracing::info!("on {}, {} threads", args.device, args.threads);
    let token = std::env::var("DSCTL_TOKEN").unwrap_or_default();
    let outcome = attachment::endpoint(&args.join)
        .map_err(|reason| format!("--join {}: {reason}", args.join))
        .and_then(|coordinator| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| format!("the system refuses a runtime: {error}"))?;
            Ok(runtime.block_on(serve(args, coordinator, token, body)))
        });
    match outcome {
        Ok(outcome) => conclude(&outcome),
        Err(reason) => {
            tracing::error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(
    args: RankArgs,
    coordinator: Endpoint,
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
        .name("training".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(training)
        .expect("a process may start its second thread");
    ended
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}

fn conclude(Outcome { end, is_known }: &Outcome) -> ExitCode {
    match end {
        SessionEnd::Finished { step } => tracing::info!("finished after step {step}"),
        SessionEnd::Stopped { step } => tracing::info!("stopped after step {step}"),
        SessionEnd::Failed(Failure { kind, message, step, .. }) => {
            tracing::error!("failed ({kind}) after step {step}: {message}");
        }
    }
    if matches!(end, SessionEnd::Failed(_)) {
        return ExitCode::FAILURE;
    }
    if !is_known {
        tracing::error!("the coordinator does not know it");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
