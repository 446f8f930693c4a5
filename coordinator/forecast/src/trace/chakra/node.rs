//! A node of a trace, whatever it was written in.

use std::collections::BTreeMap;

use ds_topology::NoRoute;
use ds_topology::flow::FlowError;

/// What a node says of itself beside its own fields.
pub(super) type Attributes = BTreeMap<String, Value>;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Text(String),
}

/// A node of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique on its rank.
    pub id: u64,
    /// For people.
    pub name: String,
    /// Nodes of the same rank that must have ended before.
    pub deps: Vec<u64>,
    /// What it does.
    pub work: Work,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// It takes so many seconds on its rank.
    Takes(f64),
    /// It sends.
    Send {
        /// To this rank.
        to: u32,
        /// Of several messages between two ranks.
        tag: u64,
        /// How much.
        bytes: f64,
    },
    /// It gets what another rank sends.
    Receive {
        /// From this rank.
        from: u32,
        /// As the sender says.
        tag: u64,
    },
    /// It does something together with others.
    Collective {
        /// What.
        what: Collective,
        /// With whom; empty for all ranks.
        group: String,
        /// A rank's whole buffer.
        bytes: f64,
        /// Of a broadcast: who has it, as the group counts.
        root: u32,
    },
}

/// What ranks do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collective {
    /// All get the sum.
    AllReduce,
    /// All get all parts.
    AllGather,
    /// Each gets its part of the sum.
    ReduceScatter,
    /// Each has a part for each.
    AllToAll,
    /// All get what one has.
    Broadcast,
    /// All wait for all.
    Barrier,
}

/// A trace that cannot be read or played.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ChakraError {
    /// Neither form.
    #[error("the trace is neither JSON nor length-delimited protobuf: {reason}")]
    Form {
        /// What a reader says.
        reason: String,
    },
    /// A field is missing or makes no sense.
    #[error("node {id}: {field} is {found}, it must be {rule}")]
    Field {
        /// Which node.
        id: u64,
        /// Which field.
        field: &'static str,
        /// What there is.
        found: String,
        /// What is needed.
        rule: &'static str,
    },
    /// Two nodes of one number.
    #[error("rank {rank}: node {id} is there twice")]
    Twice {
        /// Whose trace.
        rank: usize,
        /// Which.
        id: u64,
    },
    /// A node waits for one that is not there.
    #[error("rank {rank}: node {id} depends on node {dep}, which is not there")]
    NoSuchNode {
        /// Whose trace.
        rank: usize,
        /// Who waits.
        id: u64,
        /// For whom.
        dep: u64,
    },
    /// Nothing can go on.
    #[error("rank {rank}: node {id} ({name}) never begins: {why}")]
    Stuck {
        /// Whose trace.
        rank: usize,
        /// Which.
        id: u64,
        /// Its name.
        name: String,
        /// What holds it up.
        why: &'static str,
    },
    /// More ranks than endpoints.
    #[error("{ranks} traces are given, the fabric has {endpoints} endpoints")]
    TooManyRanks {
        /// Given.
        ranks: usize,
        /// There.
        endpoints: u32,
    },
    /// Two endpoints that cannot reach each other.
    #[error("{0}")]
    NoRoute(#[from] NoRoute),
    /// What the flow simulator refuses.
    #[error("{0}")]
    Flow(#[from] FlowError),
}

/// Types as et_def.proto numbers them: 2 and 3 load and store memory, 4 computes, 5 sends, 6 receives, 7 is a
/// collective. All else only takes its time.
pub(super) fn node(
    id: u64,
    name: String,
    kind: u64,
    deps: Vec<u64>,
    micros: f64,
    attributes: &Attributes,
) -> Result<Node, ChakraError> {
    let number = |field: &'static str| match attributes.get(field) {
        Some(Value::Number(number)) => Some(*number),
        Some(Value::Text(text)) => text.trim().parse().ok(),
        None => None,
    };
    let needed = |field: &'static str, rule: &'static str| {
        let found = || attributes.get(field).map_or("missing".to_owned(), |value| format!("{value:?}"));
        let is_fine = |n: &f64| n.is_finite() && *n >= 0.0;
        number(field).filter(is_fine).ok_or_else(|| ChakraError::Field { id, field, found: found(), rule })
    };
    let bytes = || needed("comm_size", "bytes, 0 or more");
    let tag = number("comm_tag").unwrap_or(0.0) as u64;
    let work = match kind {
        5 => Work::Send { to: needed("comm_dst", "a rank")? as u32, tag, bytes: bytes()? },
        6 => Work::Receive { from: needed("comm_src", "a rank")? as u32, tag },
        7 => {
            let rule = "ALL_REDUCE, ALL_GATHER, BROADCAST, ALL_TO_ALL, REDUCE_SCATTER or BARRIER";
            let unknown = |found: String| ChakraError::Field { id, field: "comm_type", found, rule };
            let what = match attributes.get("comm_type") {
                Some(Value::Text(text)) => by_name(text).ok_or_else(|| unknown(text.clone()))?,
                Some(Value::Number(n)) => by_number(*n).ok_or_else(|| unknown(n.to_string()))?,
                None => return Err(unknown("missing".to_owned())),
            };
            let group = match attributes.get("pg_name").or(attributes.get("comm_group")) {
                Some(Value::Text(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                None => String::new(),
            };
            let bytes = if what == Collective::Barrier { 0.0 } else { bytes()? };
            Work::Collective { what, group, bytes, root: number("comm_root").unwrap_or(0.0) as u32 }
        }
        _ => {
            if !(micros.is_finite() && micros >= 0.0) {
                let (field, found) = ("duration_micros", micros.to_string());
                return Err(ChakraError::Field { id, field, found, rule: "0 or more" });
            }
            Work::Takes(micros * 1e-6)
        }
    };
    Ok(Node { id, name, deps, work })
}

fn by_name(name: &str) -> Option<Collective> {
    match name.trim().parse::<f64>() {
        Ok(number) => by_number(number),
        Err(_) => Some(match name.to_ascii_uppercase().as_str() {
            "ALL_REDUCE" | "ALLREDUCE" => Collective::AllReduce,
            "ALL_GATHER" | "ALLGATHER" => Collective::AllGather,
            "BROADCAST" => Collective::Broadcast,
            "ALL_TO_ALL" | "ALLTOALL" => Collective::AllToAll,
            "REDUCE_SCATTER" | "REDUCE_SCATTER_BLOCK" | "REDUCESCATTER" => Collective::ReduceScatter,
            "BARRIER" => Collective::Barrier,
            _ => return None,
        }),
    }
}

/// As et_def.proto numbers them.
fn by_number(number: f64) -> Option<Collective> {
    Some(match number as i64 {
        0 => Collective::AllReduce,
        2 => Collective::AllGather,
        5 => Collective::Broadcast,
        6 => Collective::AllToAll,
        7 | 8 => Collective::ReduceScatter,
        9 => Collective::Barrier,
        _ => return None,
    })
}
