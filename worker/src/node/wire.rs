//! What a node agent and its coordinator say, to and from the messages of `dsctl.v1.NodeAgents`.

use std::time::Duration;

use ds_plan::RankId;
use ds_proto::v1;
use ds_proto::v1::node_agents_client::NodeAgentsClient;
use ds_proto::v1::node_order::Order;
use ds_proto::v1::node_report::Report;
use ds_topology::{Gpu, Nic, Node};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::transport::Channel;

use super::process::Exit;
use super::seats::{RankRun, Start};
use crate::agent::attachment::{Orders, Service, interceptor, orders, reports};

/// What a node agent says.
pub(super) type ToCoordinator = v1::NodeReport;

/// What its coordinator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToNode {
    /// The node is known.
    Welcome {
        /// A node that is silent for longer is dead.
        heartbeat_timeout: Duration,
        /// How long ranks may outlive the connection.
        orphan_grace: Duration,
    },
    /// Start a rank.
    Start(Start),
    /// End a rank, by force after the grace.
    End(RankRun, Duration),
}

/// The coordinator's service for nodes.
pub(super) struct NodeAgents {
    pub(super) token: String,
}

impl Service for NodeAgents {
    type Report = ToCoordinator;
    type Order = ToNode;

    async fn attach(&self, channel: Channel, outbox: mpsc::Receiver<ToCoordinator>) -> Result<Orders<ToNode>, Status> {
        let mut client = NodeAgentsClient::with_interceptor(channel, interceptor(&self.token)?);
        let stream = client.attach(reports(outbox)).await?.into_inner();
        Ok(orders(stream, |order: v1::NodeOrder| order.order.map(to_node)))
    }
}

/// Who we are, and which ranks run from before a lost connection.
pub(super) fn register<'a>(node: &Node, running: impl Iterator<Item = (&'a RankRun, u32)>) -> ToCoordinator {
    report(Report::Register(v1::NodeRegister {
        version: ds_proto::VERSION.to_owned(),
        name: node.name.clone(),
        n_cores: node.n_cores,
        memory_bytes: node.memory_bytes,
        gpus: node.gpus.iter().map(gpu).collect(),
        nics: node.nics.iter().map(nic).collect(),
        running: running
            .map(|(run, pid)| v1::RunningRank { job: run.job.clone(), attempt: run.attempt, rank: run.rank.0, pid })
            .collect(),
    }))
}

/// The node lives.
pub(super) fn heartbeat() -> ToCoordinator {
    report(Report::Heartbeat(v1::NodeHeartbeat {}))
}

/// A rank has a process.
pub(super) fn started(run: &RankRun, pid: u32) -> ToCoordinator {
    let RankRun { job, rank, attempt } = run.clone();
    report(Report::Started(v1::RankStarted { job, attempt, rank: rank.0, pid }))
}

/// A rank has none and will not get one.
pub(super) fn not_started(run: &RankRun, reason: String) -> ToCoordinator {
    let RankRun { job, rank, attempt } = run.clone();
    report(Report::NotStarted(v1::RankNotStarted { job, attempt, rank: rank.0, reason }))
}

/// A rank printed.
pub(super) fn lines(run: &RankRun, lines: Vec<String>) -> ToCoordinator {
    let RankRun { job, rank, attempt } = run.clone();
    report(Report::Lines(v1::RankLines { job, attempt, rank: rank.0, lines }))
}

/// A rank's process ended.
pub(super) fn exited(run: &RankRun, exit: Exit) -> ToCoordinator {
    let RankRun { job, rank, attempt } = run.clone();
    let Exit { code, signal, last_lines } = exit;
    report(Report::Exited(v1::RankExited { job, attempt, rank: rank.0, exit_code: code, signal, last_lines }))
}

/// What a rank printed, if that is what it tells.
pub(super) fn lines_of(report: &ToCoordinator) -> Option<&[String]> {
    match &report.report {
        Some(Report::Lines(lines)) => Some(&lines.lines),
        _ => None,
    }
}

fn report(report: Report) -> ToCoordinator {
    v1::NodeReport { report: Some(report) }
}

fn gpu(gpu: &Gpu) -> v1::GpuInfo {
    v1::GpuInfo { id: u32::from(gpu.id.0), name: gpu.name.clone(), memory_bytes: gpu.memory_bytes }
}

fn nic(nic: &Nic) -> v1::NicInfo {
    v1::NicInfo {
        id: u32::from(nic.id.0),
        name: nic.name.clone(),
        address: nic.address.to_string(),
        plane: u32::from(nic.plane.0),
    }
}

fn to_node(order: Order) -> ToNode {
    match order {
        Order::Welcome(welcome) => ToNode::Welcome {
            heartbeat_timeout: Duration::from_millis(welcome.heartbeat_timeout_ms),
            orphan_grace: Duration::from_millis(welcome.orphan_grace_ms),
        },
        Order::Start(v1::StartRank { job, attempt, rank, device, threads, ranks_in_process }) => ToNode::Start(Start {
            run: RankRun { job, rank: RankId(rank), attempt },
            device,
            threads,
            ranks_in_process,
        }),
        Order::End(v1::EndRank { job, attempt, rank, grace_ms }) => {
            ToNode::End(RankRun { job, rank: RankId(rank), attempt }, Duration::from_millis(grace_ms))
        }
    }
}
