//! A coordinator for tests: it takes streams and leaves every word on them to the test.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use ds_proto::v1::node_agents_server::{NodeAgents, NodeAgentsServer};
use ds_proto::v1::ranks_server::{Ranks, RanksServer};
use ds_proto::v1::{NodeOrder, NodeReport, RankOrder, RankReport};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// What the fake wants to see with every call.
pub(crate) const TOKEN: &str = "swordfish";

/// Longer than anything takes on a machine with other work to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Where streams arrive, for as long as it lives.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    nodes: mpsc::Receiver<NodeTalk>,
    ranks: mpsc::Receiver<RankTalk>,
    server: JoinHandle<()>,
}

pub(crate) type NodeTalk = Talk<NodeReport, NodeOrder>;
pub(crate) type RankTalk = Talk<RankReport, RankOrder>;

/// One stream. Dropping it closes it.
pub(crate) struct Talk<R, O> {
    reports: Streaming<R>,
    orders: mpsc::Sender<Result<O, Status>>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// Where another one can be when this one has ended. The port lies below those that the system gives to whoever asks
    /// for any (`ip_local_port_range`, 32768 and up): whoever calls it meanwhile could otherwise be given that very port
    /// and reach itself, or another test.
    pub(crate) async fn lasting() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let first = 10_000 + (std::process::id() % 9_000) as u16;
        loop {
            let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 1_000;
            match TcpListener::bind(("127.0.0.1", port)).await {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                listener => return Self::serve(listener.unwrap()),
            }
        }
    }

    /// Where an earlier one was.
    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        Self::serve(timeout(PATIENCE, listener(address)).await.expect("the address is free"))
    }

    fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (node_sender, nodes) = mpsc::channel(4);
        let (rank_sender, ranks) = mpsc::channel(4);
        let serving = Server::builder()
            .add_service(NodeAgentsServer::new(Door(node_sender)))
            .add_service(RanksServer::new(Door(rank_sender)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async { serving.await.unwrap() });
        Self { address, nodes, ranks, server }
    }

    pub(crate) fn join(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn node(&mut self) -> NodeTalk {
        timeout(PATIENCE, self.nodes.recv()).await.expect("a node comes").expect("the server lives")
    }

    pub(crate) async fn rank(&mut self) -> RankTalk {
        timeout(PATIENCE, self.ranks.recv()).await.expect("a rank comes").expect("the server lives")
    }

    /// Nobody listens at the address any more.
    pub(crate) async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

impl<R, O> Talk<R, O> {
    /// The next report; none at the end of the stream.
    pub(crate) async fn hear(&mut self) -> Option<R> {
        timeout(PATIENCE, self.reports.message()).await.expect("a report comes").ok().flatten()
    }

    pub(crate) async fn say(&self, order: O) {
        self.orders.send(Ok(order)).await.expect("somebody listens");
    }

    /// Ends the stream with an error.
    pub(crate) async fn refuse(self, status: Status) {
        self.orders.send(Err(status)).await.expect("somebody listens");
    }
}

/// A process that another test starts at this moment may hold copies of all sockets, until it runs its program.
async fn listener(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => sleep(Duration::from_millis(5)).await,
            listener => return listener.unwrap(),
        }
    }
}

/// Hands streams to the test.
struct Door<T>(mpsc::Sender<T>);

impl<R, O> Door<Talk<R, O>> {
    async fn open(&self, request: Request<Streaming<R>>) -> Result<Response<Stream<O>>, Status> {
        let shown = request.metadata().get("authorization").map(|value| value.as_bytes());
        if shown != Some(format!("Bearer {TOKEN}").as_bytes()) {
            return Err(Status::unauthenticated("the token is wrong"));
        }
        let (orders, outbox) = mpsc::channel(16);
        let talk = Talk { reports: request.into_inner(), orders };
        self.0.send(talk).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(outbox)))
    }
}

type Stream<O> = ReceiverStream<Result<O, Status>>;

#[tonic::async_trait]
impl NodeAgents for Door<NodeTalk> {
    type AttachStream = Stream<NodeOrder>;

    async fn attach(&self, request: Request<Streaming<NodeReport>>) -> Result<Response<Stream<NodeOrder>>, Status> {
        self.open(request).await
    }
}

#[tonic::async_trait]
impl Ranks for Door<RankTalk> {
    type AttachStream = Stream<RankOrder>;

    async fn attach(&self, request: Request<Streaming<RankReport>>) -> Result<Response<Stream<RankOrder>>, Status> {
        self.open(request).await
    }
}
