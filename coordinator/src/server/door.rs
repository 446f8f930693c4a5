//! How everything outside reaches the task that owns the state.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ds_proto::v1;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tonic::Status;

use super::hub::News;
use crate::cluster::RankRun;
use crate::runs::{LogWriter, Runs};

/// Messages that wait for the owner; whoever sends more waits with them. Two for each of 512 ranks.
pub(super) const INBOX_MAX: usize = 1024;

/// What the owner is told and asked.
pub(super) enum Message {
    Submit {
        spec_yaml: String,
        priority: Option<i32>,
        reply: Reply<String>,
    },
    List {
        reply: Reply<Vec<v1::Job>>,
    },
    Get {
        job: String,
        reply: Reply<v1::Job>,
    },
    Nodes {
        reply: Reply<Vec<v1::NodeView>>,
    },
    Cancel {
        job: String,
        at_once: bool,
        reply: Reply<v1::Job>,
    },
    Resume {
        job: String,
        reply: Reply<v1::Job>,
    },
    Watch {
        job: String,
        reply: Reply<Watched>,
    },
    NodeAttached {
        register: v1::NodeRegister,
        stream: StreamId,
        orders: Orders<v1::NodeOrder>,
        reply: Reply<()>,
    },
    NodeSays {
        node: String,
        stream: StreamId,
        report: v1::node_report::Report,
    },
    NodeLeft {
        node: String,
        stream: StreamId,
    },
    RankAttached {
        register: v1::RankRegister,
        stream: StreamId,
        orders: Orders<v1::RankOrder>,
        reply: Reply<()>,
    },
    RankSays {
        rank: RankRun,
        stream: StreamId,
        report: v1::rank_report::Report,
    },
    RankLeft {
        rank: RankRun,
        stream: StreamId,
    },
    /// A trigram was counted.
    Baseline {
        job: String,
        nats_per_byte: f64,
    },
    /// End everything; answered when it has ended.
    Shutdown {
        reply: Reply<()>,
    },
}

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Status>>;

/// Where orders go.
pub(super) type Orders<T> = mpsc::Sender<Result<T, Status>>;

/// Which of the streams of a node or a rank; a later one replaces an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamId(u64);

/// A job at one moment, and what happens to it from that moment on.
pub(super) struct Watched {
    pub(super) job: v1::Job,
    pub(super) news: broadcast::Receiver<News>,
    /// The newest row of metrics at that moment.
    pub(super) up_to: i64,
}

/// What all services share.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) logs: LogWriter,
    pub(super) runs: Runs,
    /// The state's file, for readers.
    pub(super) state: PathBuf,
    /// True when the coordinator ends.
    pub(super) closing: watch::Receiver<bool>,
    pub(super) streams: Arc<AtomicU64>,
}

impl Door {
    /// Asks the owner and waits for the answer.
    pub(super) async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        self.tell(message(reply)).await?;
        answer.await.map_err(|_| ending())?
    }

    /// Tells the owner.
    pub(super) async fn tell(&self, message: Message) -> Result<(), Status> {
        self.inbox.send(message).await.map_err(|_| ending())
    }

    /// A new one.
    pub(super) fn stream(&self) -> StreamId {
        StreamId(self.streams.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns when the coordinator ends.
    pub(super) async fn closed(&mut self) {
        let _ = self.closing.wait_for(|closing| *closing).await;
    }
}

fn ending() -> Status {
    Status::unavailable("the coordinator is ending")
}
