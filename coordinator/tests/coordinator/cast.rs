//! Those whom the tests play: a node agent and ranks that train nothing.

use std::time::Duration;

use ds_proto::v1;
use ds_proto::v1::node_agents_client::NodeAgentsClient;
use ds_proto::v1::ranks_client::RanksClient;
use ds_proto::v1::{node_order, node_report, rank_order, rank_report};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::world::{PATIENCE, World};

const HEARTBEAT: Duration = Duration::from_millis(250);

/// Shows that it lives until it is dropped.
pub(crate) struct Node {
    reports: mpsc::Sender<v1::NodeReport>,
    orders: Streaming<v1::NodeOrder>,
}

/// Shows that it lives until it is dropped.
pub(crate) struct Rank {
    pub(crate) rank: u32,
    reports: mpsc::Sender<v1::RankReport>,
    orders: Streaming<v1::RankOrder>,
}

/// Says something every now and then, as long as somebody else holds the stream.
fn beat<T: Clone + Send + 'static>(reports: &mpsc::Sender<T>, heartbeat: T) {
    let reports = reports.downgrade();
    tokio::spawn(async move {
        while let Some(reports) = reports.upgrade() {
            // One that has no room is heard enough.
            let _ = reports.try_send(heartbeat.clone());
            drop(reports);
            sleep(HEARTBEAT).await;
        }
    });
}

pub(crate) fn registration(name: &str) -> v1::NodeRegister {
    v1::NodeRegister {
        version: ds_proto::VERSION.to_owned(),
        name: name.to_owned(),
        n_cores: 4,
        memory_bytes: 8 << 30,
        nics: vec![v1::NicInfo { id: 0, name: "lo".to_owned(), address: "127.0.0.1".to_owned(), plane: 0 }],
        ..v1::NodeRegister::default()
    }
}

impl Node {
    pub(crate) async fn attach(world: &World, register: v1::NodeRegister) -> Result<Self, Status> {
        let (reports, outbox) = mpsc::channel(64);
        let first = v1::NodeReport { report: Some(node_report::Report::Register(register)) };
        reports.send(first).await.unwrap();
        let mut client = NodeAgentsClient::with_interceptor(world.channel().await, world.interceptor());
        let orders = client.attach(ReceiverStream::new(outbox)).await?.into_inner();
        beat(&reports, v1::NodeReport { report: Some(node_report::Report::Heartbeat(v1::NodeHeartbeat {})) });
        Ok(Self { reports, orders })
    }

    pub(crate) async fn join(world: &World) -> Self {
        let mut node = Self::attach(world, registration("alpha")).await.unwrap();
        assert!(matches!(node.hear().await, node_order::Order::Welcome(_)));
        node
    }

    pub(crate) async fn say(&self, report: node_report::Report) {
        self.reports.send(v1::NodeReport { report: Some(report) }).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> node_order::Order {
        let order = timeout(PATIENCE, self.orders.message()).await.expect("an order comes").unwrap();
        order.expect("the stream goes on").order.expect("an order says something")
    }

    /// Orders to start ranks, until there are so many; each is reported as started.
    pub(crate) async fn starts(&mut self, n: usize) -> Vec<v1::StartRank> {
        let mut starts: Vec<v1::StartRank> = Vec::new();
        while starts.len() < n {
            if let node_order::Order::Start(start) = self.hear().await {
                let v1::StartRank { job, attempt, rank, .. } = start.clone();
                self.say(node_report::Report::Started(v1::RankStarted { job, attempt, rank, pid: 100 + rank })).await;
                starts.push(start);
            }
        }
        starts
    }

    pub(crate) async fn prints(&self, start: &v1::StartRank, lines: &[&str]) {
        let v1::StartRank { job, attempt, rank, .. } = start.clone();
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        self.say(node_report::Report::Lines(v1::RankLines { job, attempt, rank, lines })).await;
    }

    pub(crate) async fn exited(&self, start: &v1::StartRank, exit_code: Option<i32>, signal: Option<i32>) {
        let v1::StartRank { job, attempt, rank, .. } = start.clone();
        let last_lines = vec!["these were its last words".to_owned()];
        let exited = v1::RankExited { job, attempt, rank, exit_code, signal, last_lines };
        self.say(node_report::Report::Exited(exited)).await;
    }
}

impl Rank {
    pub(crate) async fn attach(world: &World, start: &v1::StartRank) -> Result<Self, Status> {
        let v1::StartRank { job, attempt, rank, .. } = start.clone();
        let (reports, outbox) = mpsc::channel(64);
        let version = ds_proto::VERSION.to_owned();
        let register = v1::RankRegister { version, job, attempt, rank, pid: 100 + rank };
        let first = v1::RankReport { report: Some(rank_report::Report::Register(register)) };
        reports.send(first).await.unwrap();
        let mut client = RanksClient::with_interceptor(world.channel().await, world.interceptor());
        let orders = client.attach(ReceiverStream::new(outbox)).await?.into_inner();
        beat(&reports, v1::RankReport { report: Some(rank_report::Report::Heartbeat(v1::RankHeartbeat { step: 0 })) });
        Ok(Self { rank, reports, orders })
    }

    pub(crate) async fn say(&self, report: rank_report::Report) {
        self.reports.send(v1::RankReport { report: Some(report) }).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> rank_order::Order {
        let order = timeout(PATIENCE, self.orders.message()).await.expect("an order comes").unwrap();
        order.expect("the stream goes on").order.expect("an order says something")
    }

    /// Up to the moment where it knows the job and peers may connect.
    pub(crate) async fn listen(&mut self) -> v1::Configure {
        let configure = match self.hear().await {
            rank_order::Order::Configure(configure) => configure,
            other => panic!("rank {} should be configured, not {other:?}", self.rank),
        };
        let addresses = vec![format!("127.0.0.1:{}", 4000 + self.rank)];
        self.say(rank_report::Report::Listening(v1::RankListening { addresses })).await;
        configure
    }

    pub(crate) async fn connect(&mut self, resumed_step: u64) -> Vec<v1::PeerAddresses> {
        let peers = match self.hear().await {
            rank_order::Order::Connect(connect) => connect.peers,
            other => panic!("rank {} should be told of its peers, not {other:?}", self.rank),
        };
        self.say(rank_report::Report::Ready(v1::RankReady { resumed_step })).await;
        peers
    }

    pub(crate) async fn go(&mut self) {
        assert_eq!(self.hear().await, rank_order::Order::Go(v1::Go {}));
    }

    pub(crate) async fn steps(&self, attempt: u32, steps: std::ops::RangeInclusive<u64>) {
        for step in steps {
            let loss = 5.0 - step as f64 / 10.0 - f64::from(attempt) / 1000.0;
            let seconds_by_cause = [("compute".to_owned(), 0.25)].into();
            let (tokens, seconds, maxvio) = (256, 0.5, 0.75);
            let metrics = v1::StepMetrics {
                step,
                attempt,
                loss,
                tokens,
                seconds,
                maxvio,
                seconds_by_cause,
                ..Default::default()
            };
            self.say(rank_report::Report::Step(metrics)).await;
        }
    }

    /// Says its last word, and leaves when the coordinator has heard it.
    pub(crate) async fn leave(self, last: rank_report::Report) {
        self.say(last).await;
        let Self { reports, mut orders, .. } = self;
        drop(reports);
        while let Ok(Some(_)) = timeout(PATIENCE, orders.message()).await.expect("the coordinator hears it") {}
    }

    pub(crate) async fn finish(self, step: u64) {
        self.leave(rank_report::Report::Finished(v1::RankFinished { step, stopped: false })).await;
    }
}

/// All ranks of a job, up to the moment where they train.
pub(crate) async fn train(world: &World, starts: &[v1::StartRank], resumed_step: u64) -> Vec<Rank> {
    let mut ranks = Vec::new();
    for start in starts {
        let mut rank = Rank::attach(world, start).await.unwrap();
        rank.listen().await;
        ranks.push(rank);
    }
    for rank in &mut ranks {
        assert_eq!(rank.connect(resumed_step).await.len(), starts.len());
    }
    for rank in &mut ranks {
        rank.go().await;
    }
    ranks
}

/// Every rank is done and its process ends well.
pub(crate) async fn finish(node: &Node, starts: &[v1::StartRank], ranks: Vec<Rank>, step: u64) {
    for rank in ranks {
        rank.finish(step).await;
    }
    for start in starts {
        node.exited(start, Some(0), None).await;
    }
}
