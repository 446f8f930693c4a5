//! What a rank and its coordinator say, to and from the messages of `dsctl.v1.Ranks`.

use std::time::Duration;

use ds_plan::RankId;
use ds_proto::v1;
use ds_proto::v1::rank_report::Report as Wire;
use ds_proto::v1::ranks_client::RanksClient;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::transport::Channel;

use super::Identity;
use super::attachment::{Orders, Service, interceptor, orders, reports};
use super::words::{Configure, Failure, Order, Report, SessionEnd, Stop};
use crate::comm::Peer;

/// What a rank says.
pub(super) type ToCoordinator = v1::RankReport;

/// What its coordinator says.
pub(super) type ToRank = v1::rank_order::Order;

/// The coordinator's service for ranks.
pub(super) struct Ranks {
    pub(super) token: String,
}

impl Service for Ranks {
    type Report = ToCoordinator;
    type Order = ToRank;

    async fn attach(&self, channel: Channel, outbox: mpsc::Receiver<ToCoordinator>) -> Result<Orders<ToRank>, Status> {
        let mut client = RanksClient::with_interceptor(channel, interceptor(&self.token)?);
        let stream = client.attach(reports(outbox)).await?.into_inner();
        Ok(orders(stream, |order: v1::RankOrder| order.order))
    }
}

/// Who we are; the same after a lost connection as before.
pub(super) fn register(identity: &Identity) -> ToCoordinator {
    let Identity { job, attempt, rank, .. } = identity.clone();
    let version = ds_proto::VERSION.to_owned();
    wire(Wire::Register(v1::RankRegister { version, job, attempt, rank, pid: std::process::id() }))
}

/// The rank lives.
pub(super) fn heartbeat(step: u64) -> ToCoordinator {
    wire(Wire::Heartbeat(v1::RankHeartbeat { step }))
}

/// What the training thread says on its way.
pub(super) fn report(report: Report) -> ToCoordinator {
    wire(match report {
        Report::Listening { addresses } => Wire::Listening(v1::RankListening { addresses }),
        Report::Ready { resumed_step } => Wire::Ready(v1::RankReady { resumed_step }),
        Report::Step(metrics) => Wire::Step(metrics.into()),
        Report::Evaluation(evaluation) => Wire::Evaluation(evaluation.into()),
        Report::Memory { peak_bytes } => Wire::Memory(v1::RankMemory { peak_bytes }),
        Report::Checkpoint { step, folder, seconds } => Wire::Checkpoint(v1::CheckpointSaved { step, folder, seconds }),
    })
}

/// The training thread's last words.
pub(super) fn end(end: &SessionEnd) -> ToCoordinator {
    wire(match end.clone() {
        SessionEnd::Finished { step } => Wire::Finished(v1::RankFinished { step, stopped: false }),
        SessionEnd::Stopped { step } => Wire::Finished(v1::RankFinished { step, stopped: true }),
        SessionEnd::Failed(Failure { kind, message, culprit, step }) => {
            let culprit = culprit.map(|rank| rank.0);
            Wire::Failed(v1::RankFailed { kind: kind.to_owned(), message, culprit, step })
        }
    })
}

/// An order as the training thread takes it.
pub(super) fn order(order: ToRank, identity: &Identity) -> Order {
    match order {
        ToRank::Configure(configure) => Order::Configure(Configure {
            spec_yaml: configure.spec_yaml,
            device: configure.device,
            checkpoint_folder: configure.checkpoint_folder,
            peer_token: configure.peer_token,
            token_cache: configure.token_cache,
            orphan_grace: Duration::from_millis(configure.orphan_grace_ms),
            addresses: identity.addresses.clone(),
        }),
        ToRank::Connect(connect) => Order::Connect(connect.peers.into_iter().map(peer).collect()),
        ToRank::Go(v1::Go {}) => Order::Go,
        ToRank::Stop(v1::Stop { checkpoint }) => Order::Stop(Stop { checkpoint }),
    }
}

fn peer(peer: v1::PeerAddresses) -> Peer {
    Peer { rank: RankId(peer.rank), node: peer.node, addresses: peer.addresses }
}

fn wire(report: Wire) -> ToCoordinator {
    v1::RankReport { report: Some(report) }
}
