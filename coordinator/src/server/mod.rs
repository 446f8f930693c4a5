//! The shell around the state machine: gRPC in front, SQLite and files behind, one task in the middle.

mod attach;
mod auth;
mod clock;
mod door;
mod error;
mod hub;
mod jobs;
mod log_stream;
mod nodes;
mod owner;
mod ranks;
mod socket;
mod watch_stream;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ds_proto::v1::jobs_server::JobsServer;
use ds_proto::v1::node_agents_server::NodeAgentsServer;
use ds_proto::v1::ranks_server::RanksServer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::service::InterceptorLayer;
use tonic::transport::server::TcpIncoming;

pub use error::ServerError;

use crate::home::{Home, HomeError};
use crate::runs::{LogBook, Runs};
use crate::store::Store;
use door::{Door, INBOX_MAX, Message};
use owner::Owner;

/// A connection without traffic is asked this often whether it lives.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// And must answer within. A process that only lacks a core for a while is not lost.
const PROBE_MAX: Duration = Duration::from_secs(15);
/// Ranks that end with the coordinator have this long.
const END_RANKS_MAX: Duration = Duration::from_secs(10);
/// Streams that end with the coordinator have this long; then they are cut off.
const END_STREAMS_MAX: Duration = Duration::from_secs(5);
/// Somebody who only looks at a home holds it for an instant, and a coordinator that ends a little longer.
const TAKE_EVERY: Duration = Duration::from_millis(50);
const TAKES_MAX: usize = 600;

/// What a coordinator needs to know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where everything is kept.
    pub home: PathBuf,
    /// Port 0 for any that is free.
    pub listen: SocketAddr,
    /// Within `dsctl launch`: ranks do not outlive it.
    pub embedded: bool,
}

/// A coordinator that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    home: Home,
    inbox: mpsc::Sender<Message>,
    closing: watch::Sender<bool>,
    owner: JoinHandle<Result<(), ServerError>>,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    logs: LogBook,
}

/// Takes the home, takes up what was kept in it, and listens.
///
/// # Errors
/// When the home, the state or the address cannot be had.
pub async fn start(config: ServerConfig) -> Result<Server, ServerError> {
    let home = take(&config.home).await?;
    let (listener, address) = socket::listen(config.listen).await?;
    let store = Store::open(&home.state())?;
    let runs = Runs::new(home.runs());
    let (logs, log_writer) = LogBook::start(runs.clone()).map_err(ServerError::Thread)?;
    let (inbox, messages) = mpsc::channel(INBOX_MAX);
    let (closing, closed) = watch::channel(false);
    let door = Door {
        inbox: inbox.clone(),
        logs: log_writer,
        runs: runs.clone(),
        state: home.state(),
        closing: closed,
        streams: Arc::default(),
    };
    let owner = Owner::new(owner::Setting {
        store,
        runs,
        token_cache: home.tokens(),
        embedded: config.embedded,
        inbox: inbox.downgrade(),
    })?;
    let owner = tokio::spawn(owner.run(messages));
    let serving = serve(listener, home.token(), door)?;
    home.announce(&socket::url(address))?;
    Ok(Server { address, home, inbox, closing, owner, serving, logs })
}

/// The home, as soon as nobody has it who is about to leave.
async fn take(path: &Path) -> Result<Home, HomeError> {
    for _ in 1..TAKES_MAX {
        match Home::take(path) {
            Err(HomeError::Taken { running: None, .. }) => sleep(TAKE_EVERY).await,
            taken => return taken,
        }
    }
    Home::take(path)
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What every call must carry.
    pub fn token(&self) -> &str {
        self.home.token()
    }

    /// Where everything is kept.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Waits until it ends by itself, which it does only when it cannot keep what happens.
    pub async fn ended(&mut self) -> Option<ServerError> {
        (&mut self.owner).await.ok()?.err()
    }

    /// Ends it; an embedded one ends all ranks first.
    pub async fn shutdown(mut self) {
        let (reply, done) = tokio::sync::oneshot::channel();
        if self.inbox.send(Message::Shutdown { reply }).await.is_ok() {
            let _ = timeout(END_RANKS_MAX, done).await;
        }
        let _ = self.closing.send(true);
        self.home.withdraw();
        drop(self.inbox);
        if !self.owner.is_finished() && timeout(END_STREAMS_MAX, &mut self.owner).await.is_err() {
            self.owner.abort();
        }
        if timeout(END_STREAMS_MAX, &mut self.serving).await.is_err() {
            self.serving.abort();
            let _ = self.serving.await;
        }
        let logs = self.logs;
        let _ = timeout(END_STREAMS_MAX, tokio::task::spawn_blocking(|| logs.finish())).await;
    }
}

/// All services behind the token.
fn serve(
    listener: TcpListener,
    token: &str,
    door: Door,
) -> Result<JoinHandle<Result<(), tonic::transport::Error>>, ServerError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let describe = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(ds_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut closing = door.clone();
    let router = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(PROBE_EVERY))
        .http2_keepalive_timeout(Some(PROBE_MAX))
        .layer(InterceptorLayer::new(auth::RequireToken::new(token)))
        .add_service(JobsServer::new(jobs::JobService(door.clone())))
        .add_service(NodeAgentsServer::new(nodes::NodeService(door.clone())))
        .add_service(RanksServer::new(ranks::RankService(door)))
        .add_service(health_service)
        .add_service(describe().build_v1()?)
        .add_service(describe().build_v1alpha()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(tokio::spawn(async move {
        health.set_serving::<JobsServer<jobs::JobService>>().await;
        health.set_serving::<NodeAgentsServer<nodes::NodeService>>().await;
        health.set_serving::<RanksServer<ranks::RankService>>().await;
        router.serve_with_incoming_shutdown(incoming, async move { closing.closed().await }).await
    }))
}
