//! The node agent: registers what a machine has, starts and ends its ranks on order, tells what they print and how
//! they end, and outlives them.

mod agent;
mod backlog;
mod crew;
mod error;
mod inventory;
mod lines;
mod nccl;
mod process;
mod seats;
#[cfg(test)]
mod tests;
mod wire;

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ds_topology::PlaneId;
use nix::unistd::getppid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub use agent::allocator;
pub use error::NodeError;

use crate::agent::attachment;
use agent::{Agent, Ending};

/// Orders that wait for the agent, which never blocks: those for every rank of a large node.
const CONTACTS_MAX: usize = 64;
/// How often an embedded agent looks whether the process that it belongs to is still there.
const PARENT_WATCH: Duration = Duration::from_millis(200);

/// The command line of a node agent.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArgs {
    /// The coordinator's address, http://host:port.
    #[arg(long, value_name = "URL")]
    pub join: String,
    /// Name in the cluster [default: the machine's].
    #[arg(long)]
    pub name: Option<String>,
    /// Cores that ranks may use [default: all that this process may].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub cores: Option<u32>,
    /// A file with the coordinator's token [default: the variable DSCTL_TOKEN].
    #[arg(long, value_name = "F")]
    pub token_file: Option<PathBuf>,
    /// Folder that ranks work in [default: this one].
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Addresses that ranks listen on, the best first [default: loopback under a coordinator at loopback, else one of
    /// every network interface].
    #[arg(long = "address", value_name = "IP")]
    pub addresses: Vec<IpAddr>,
    /// The network that a network interface is on [default: 0].
    #[arg(long = "nic", value_name = "NAME=PLANE", value_parser = plane_of)]
    pub planes: Vec<(String, PlaneId)>,
    /// Belong to this process, which must be the one that started the agent: end with it and ignore Ctrl-C.
    #[arg(long, value_name = "PARENT_PID", hide = true)]
    pub embedded: Option<u32>,
}

/// What a node agent is to do.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The coordinator's address.
    pub join: String,
    /// What every call must carry.
    pub token: String,
    /// Instead of the machine's name.
    pub name: Option<String>,
    /// Instead of those that it finds.
    pub cores: Option<u32>,
    /// Where ranks work, if not here.
    pub work: Option<PathBuf>,
    /// Where ranks listen, if not at the default.
    pub addresses: Vec<IpAddr>,
    /// Network interfaces that are not on plane 0.
    pub planes: Vec<(String, PlaneId)>,
    /// The process that it belongs to.
    pub embedded: Option<u32>,
    /// What starts a rank: a program and its first arguments.
    pub rank_command: Vec<String>,
}

/// Runs a node agent until it is told to end or its coordinator is gone. Ranks are started from the calling thread,
/// with whose end they end, so that should be the main thread.
pub fn run(args: NodeArgs) -> ExitCode {
    let end = NodeConfig::new(args).and_then(|config| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| NodeError::System { what: "a runtime", source })?;
        runtime.block_on(async {
            let asked = asked_to_end(config.embedded)?;
            serve(config, asked).await
        })
    });
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

impl NodeConfig {
    /// Reads the token and looks for the folder.
    fn new(args: NodeArgs) -> Result<Self, NodeError> {
        let NodeArgs { join, name, cores, token_file, work, addresses, planes, embedded } = args;
        let token = match token_file {
            Some(path) => fs::read_to_string(&path).map_err(|source| NodeError::TokenFile { path, source })?,
            None => std::env::var("DSCTL_TOKEN").unwrap_or_default(),
        };
        let token = Some(token.trim().to_owned()).filter(|token| !token.is_empty()).ok_or(NodeError::NoToken)?;
        if let Some(path) = &work {
            fs::create_dir_all(path).map_err(|source| NodeError::WorkFolder { path: path.clone(), source })?;
        }
        let program = std::env::current_exe();
        let program = program.map_err(|source| NodeError::System { what: "the name of this program", source })?;
        let rank_command = vec![program.to_string_lossy().into_owned(), "rank".to_owned()];
        Ok(Self { join, token, name, cores, work, addresses, planes, embedded, rank_command })
    }
}

async fn serve(config: NodeConfig, asked: impl Future<Output = Ending>) -> Result<(), NodeError> {
    let coordinator =
        attachment::endpoint(&config.join).map_err(|reason| NodeError::Join { join: config.join.clone(), reason })?;
    let node = inventory::inventory(&config)?;
    tracing::info!("node {}: {} cores, {} GPUs", node.name, node.n_cores, node.gpus.len());
    let (sender, contacts) = mpsc::channel(CONTACTS_MAX);
    tokio::spawn(attachment::keep(wire::NodeAgents { token: config.token.clone() }, coordinator, sender));
    Agent::new(config, node, contacts).run(asked).await
}

/// Comes with a signal, or with the end of the process that an embedded agent belongs to. That is looked for rather
/// than asked of the kernel, which would watch one thread of it only.
fn asked_to_end(embedded: Option<u32>) -> Result<impl Future<Output = Ending>, NodeError> {
    let listen = |kind| signal(kind).map_err(|source| NodeError::System { what: "to listen to signals", source });
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        let parent_gone = async {
            let Some(parent) = embedded else { return std::future::pending().await };
            while u32::try_from(getppid().as_raw()) == Ok(parent) {
                tokio::time::sleep(PARENT_WATCH).await;
            }
        };
        tokio::pin!(parent_gone);
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ending::Asked,
                _ = hangup.recv(), if embedded.is_none() => return Ending::Asked,
                _ = interrupt.recv() => if embedded.is_none() {
                    return Ending::Asked;
                },
                () = &mut parent_gone => return Ending::ParentGone,
            }
        }
    })
}

/// `eth1=3`.
fn plane_of(text: &str) -> Result<(String, PlaneId), String> {
    let (name, plane) = text.split_once('=').ok_or("must be NAME=PLANE, for example eth1=3")?;
    let plane = plane.parse().map_err(|_| format!("the plane {plane:?} must be a number from 0 to 255"))?;
    Ok((name.to_owned(), PlaneId(plane)))
}
