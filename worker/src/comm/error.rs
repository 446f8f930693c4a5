//! What can go wrong between ranks, and who was the cause.

use std::net::SocketAddr;
use std::sync::Arc;

use ds_plan::{GroupId, RankId};
use tch::TchError;

use super::dtype::Dtype;
use super::signature::{Op, Signature};
use super::tcp::Refusal;

/// Why an operation has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommError {
    /// A member of the group is gone, or gave up.
    #[error("rank {} failed: {reason} ({op} number {sequence} of group {} cannot end)", .rank.0, .group.0)]
    PeerFailed {
        /// The first that failed, which need not be the one that told.
        rank: RankId,
        /// The group of the operation that fails here.
        group: GroupId,
        /// The operation that fails here.
        op: Op,
        /// Its number.
        sequence: u64,
        /// Why the rank failed.
        reason: Reason,
    },
    /// This rank gave up.
    #[error("rank {} aborted: {reason} ({op} number {sequence} of group {})", .rank.0, .group.0)]
    Aborted {
        /// This rank.
        rank: RankId,
        /// The group of the operation.
        group: GroupId,
        /// The operation.
        op: Op,
        /// Its number.
        sequence: u64,
        /// What the caller of `abort` said.
        reason: String,
    },
    /// Two members do not mean the same operation.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
    /// This rank has closed or dropped its endpoint.
    #[error("{op} number {sequence} of group {}: this rank has left", .group.0)]
    Left {
        /// The group of the operation.
        group: GroupId,
        /// The operation.
        op: Op,
        /// Its number.
        sequence: u64,
    },
    /// The deadline passed.
    #[error("{op} number {sequence} of group {} still waits for {}", .group.0, list(.missing))]
    Timeout {
        /// The group of the operation.
        group: GroupId,
        /// The operation.
        op: Op,
        /// Its number.
        sequence: u64,
        /// Who has not sent, or has not taken, what the operation needs.
        missing: Vec<RankId>,
    },
    /// What this rank was asked to do cannot be done.
    #[error("rank {}: {op} number {sequence} of group {} cannot start: {reason}", .rank.0, .group.0)]
    NotStarted {
        /// This rank.
        rank: RankId,
        /// The group of the operation.
        group: GroupId,
        /// The operation.
        op: Op,
        /// Its number.
        sequence: u64,
        /// Why not.
        reason: Box<CommError>,
    },
    /// What joins the cards of a group gave up.
    #[error("rank {}: {op} number {sequence} of group {} on cards: {reason}", .rank.0, .group.0)]
    OnCard {
        /// This rank.
        rank: RankId,
        /// The group of the operation.
        group: GroupId,
        /// The operation.
        op: Op,
        /// Its number; 0 while cards join.
        sequence: u64,
        /// In the library's words.
        reason: String,
    },
    /// The counts of rows do not fit the tensor or the group.
    #[error("{n_counts} counts with sum {sum}, but the group has {n_members} members and dim 0 has {n_rows} rows")]
    Rows {
        /// Counts given.
        n_counts: usize,
        /// Their sum.
        sum: i64,
        /// Members of the group.
        n_members: usize,
        /// Rows of the tensor.
        n_rows: i64,
    },
    /// A rank does not mean the same when it gives itself a part and when it takes it.
    #[error("{given} elements are given to the rank itself, {expected} are expected from it")]
    Own {
        /// By its counts of what goes out.
        given: i64,
        /// By its counts of what comes in.
        expected: i64,
    },
    /// A place outside of the group, or the rank's own where another is needed.
    #[error("place {place} is not that of another of its {n_members} members")]
    NotAPeer {
        /// The place that was named.
        place: usize,
        /// Members of the group.
        n_members: usize,
    },
    /// Elements that cannot be added or compared.
    #[error("cannot reduce {dtype}, only f32, f64, bf16 and i64")]
    CannotReduce {
        /// The elements.
        dtype: Dtype,
    },
    /// Elements that have no bytes of their own, such as complex or quantised ones.
    #[error("tensors of {kind:?} cannot be sent")]
    CannotSend {
        /// The elements.
        kind: tch::Kind,
    },
    /// LibTorch refused to make or copy a tensor.
    #[error("LibTorch: {0}")]
    Torch(Arc<TchError>),
    /// The ranks could not be connected.
    #[error(transparent)]
    Connect(Arc<ConnectError>),
}

impl CommError {
    /// The rank to blame, where it is clear which one.
    pub fn culprit(&self) -> Option<RankId> {
        match self {
            Self::PeerFailed { rank, .. } => Some(*rank),
            Self::Timeout { missing, .. } => match missing[..] {
                [rank] => Some(rank),
                _ => None,
            },
            Self::Connect(error) => match **error {
                ConnectError::Unreachable { rank, .. } | ConnectError::Refused { rank, .. } => Some(rank),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<TchError> for CommError {
    fn from(error: TchError) -> Self {
        Self::Torch(Arc::new(error))
    }
}

impl From<ConnectError> for CommError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Arc::new(error))
    }
}

/// Two members that do not mean the same operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation {sequence} of group {}: rank {} has {signature}, rank {} has {other_signature}", .group.0, .rank.0, .other.0)]
pub struct Mismatch {
    /// The group.
    pub group: GroupId,
    /// The number of the operation.
    pub sequence: u64,
    /// The rank that found it.
    pub rank: RankId,
    /// What it started.
    pub signature: Signature,
    /// The rank whose message did not fit.
    pub other: RankId,
    /// What the message said.
    pub other_signature: Signature,
}

/// Why a rank failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It said so.
    #[error("it aborted: {0}")]
    Aborted(String),
    /// Its thread panicked.
    #[error("it panicked")]
    Panicked,
    /// It dropped its endpoint without closing it.
    #[error("it left without a goodbye")]
    Dropped,
    /// Its connection broke: most often, its process died.
    #[error("its connection ended ({0})")]
    Lost(String),
    /// Nothing was heard of it, not even a ping.
    #[error("nothing was heard of it for {seconds} s")]
    Silent {
        /// For how long.
        seconds: u64,
    },
    /// It had finished, and closed its endpoint.
    #[error("it had closed its endpoint")]
    Closed,
    /// It sent what is not a message.
    #[error("it sent bytes that are no message")]
    Garbled,
    /// It is so far behind that what it should take fills the queue.
    #[error("{n_bytes} bytes wait that it does not take")]
    Behind {
        /// Bytes that wait.
        n_bytes: u64,
    },
    /// It is so far ahead that what it sent fills the mailbox.
    #[error("it sent {n_bytes} bytes ahead of the operations that take them")]
    Flooded {
        /// Bytes that wait.
        n_bytes: u64,
    },
}

impl Reason {
    pub(super) fn encode(&self) -> (u8, String) {
        match self {
            Self::Aborted(text) => (1, text.clone()),
            Self::Panicked => (2, String::new()),
            Self::Dropped => (3, String::new()),
            Self::Lost(text) => (4, text.clone()),
            Self::Silent { seconds } => (5, seconds.to_string()),
            Self::Closed => (6, String::new()),
            Self::Garbled => (7, String::new()),
            Self::Flooded { n_bytes } => (8, n_bytes.to_string()),
            Self::Behind { n_bytes } => (9, n_bytes.to_string()),
        }
    }

    pub(super) fn decode(tag: u8, text: &str) -> Option<Self> {
        Some(match tag {
            1 => Self::Aborted(text.to_owned()),
            2 => Self::Panicked,
            3 => Self::Dropped,
            4 => Self::Lost(text.to_owned()),
            5 => Self::Silent { seconds: text.parse().ok()? },
            6 => Self::Closed,
            7 => Self::Garbled,
            8 => Self::Flooded { n_bytes: text.parse().ok()? },
            9 => Self::Behind { n_bytes: text.parse().ok()? },
            _ => return None,
        })
    }
}

/// The first cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) rank: RankId,
    pub(super) reason: Reason,
}

/// Why the ranks of a job could not be connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused what a connection needs.
    #[error("cannot prepare connections: {0}")]
    System(#[from] std::io::Error),
    /// A peer cannot be reached.
    #[error("cannot reach rank {} at {}: {source}", .rank.0, .addresses.join(", "))]
    Unreachable {
        /// The peer.
        rank: RankId,
        /// Where it should listen.
        addresses: Vec<String>,
        /// The last thing that went wrong.
        source: std::io::Error,
    },
    /// A peer was reached, and one of the two does not accept the other.
    #[error("rank {} at {address}: {refusal}", .rank.0)]
    Refused {
        /// The peer.
        rank: RankId,
        /// Where it listens.
        address: String,
        /// Why.
        refusal: Refusal,
    },
    /// Planes that do not join two ranks.
    #[error(
        "rank {}, whose NIC is on plane {plane}, has no way to rank {}: their nodes have no ranks on one plane", .rank.0, .other.0
    )]
    NoWay {
        /// This rank.
        rank: RankId,
        /// Of its NIC.
        plane: u32,
        /// The other.
        other: RankId,
    },
    /// Peers did not come before the deadline.
    #[error("{} did not connect before the deadline{}", list(.missing), refused(.refusals))]
    Missing {
        /// Who.
        missing: Vec<RankId>,
        /// Who knocked meanwhile, and was sent away.
        refusals: Vec<Refusal>,
    },
    /// MPI cannot be used.
    #[cfg(feature = "mpi")]
    #[error("MPI: {reason}")]
    Mpi {
        /// Why not.
        reason: String,
    },
    /// The list of peers does not name every rank once.
    #[error("{n_peers} peers are listed, and rank {} is not listed exactly once", .rank.0)]
    Peers {
        /// Length of the list.
        n_peers: usize,
        /// The rank that is missing or doubled.
        rank: RankId,
    },
}

fn list(ranks: &[RankId]) -> String {
    let numbers: Vec<String> = ranks.iter().map(|rank| rank.0.to_string()).collect();
    format!("rank{} {}", if ranks.len() == 1 { "" } else { "s" }, numbers.join(", "))
}

fn refused(refusals: &[Refusal]) -> String {
    let texts: Vec<String> = refusals.iter().map(|refusal| format!("; sent away: {refusal}")).collect();
    texts.concat()
}
