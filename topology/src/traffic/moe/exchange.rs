//! Dispatch and combine as messages.

use super::demand::Demand;
use super::group::ExpertGroup;
use crate::traffic::{Frontier, MessageId, Traffic};

/// How rows get from a rank to the ranks of their experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A row goes from rank to rank, once for each rank that has an expert for it.
    Plain,
    /// A row crosses to a node once, to the rank of the same index there, which forwards it within the node; on the
    /// way back the node adds its results, and one row returns (arXiv 2412.19437, §3.2.2).
    Deduplicated(Forwarding),
}

/// When a node forwards what came over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarding {
    /// Chunk by chunk as they come, so that both run at once: an exchange is through when both are.
    CutThrough,
    /// When all of a message is there.
    StoreAndForward,
}

/// What a row is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowFormat {
    /// One byte a number, and a four-byte scale for every 128 of them.
    Fp8,
    /// Two bytes a number.
    Bf16,
}

impl RowFormat {
    /// Bytes of a row.
    pub fn row_bytes(self, width: u32) -> f64 {
        match self {
            Self::Fp8 => f64::from(width) + 4.0 * f64::from(width.div_ceil(128)),
            Self::Bf16 => 2.0 * f64::from(width),
        }
    }
}

/// Rows to their experts. A rank goes on when all that it sends has left and all that it gets is there.
pub fn dispatch(
    traffic: &mut Traffic,
    group: &ExpertGroup,
    demand: &Demand,
    mode: Mode,
    row_bytes: f64,
    after: &Frontier,
) -> Frontier {
    let mut legs = Legs { traffic, group, row_bytes, end: Frontier::start(group.len()) };
    for from in 0..group.len() {
        for node in 0..group.n_nodes() {
            let direct = node == group.node_of(from) || mode == Mode::Plain;
            if direct {
                for &to in group.on_node(node) {
                    legs.send(from, to, demand.to_rank(from, to), after.of(from));
                }
                continue;
            }
            let relay = group.peer(from, node);
            let crossing = legs.send(from, relay, demand.to_node(from, node), after.of(from));
            for &to in group.on_node(node) {
                let mut deps = after.of(relay).to_vec();
                if mode == Mode::Deduplicated(Forwarding::StoreAndForward) {
                    deps.extend(crossing);
                }
                legs.send(relay, to, demand.to_rank(from, to), &deps);
            }
        }
    }
    legs.end.or(after)
}

/// Results back to their tokens: what [`dispatch`] did, in reverse.
pub fn combine(
    traffic: &mut Traffic,
    group: &ExpertGroup,
    demand: &Demand,
    mode: Mode,
    row_bytes: f64,
    after: &Frontier,
) -> Frontier {
    let mut legs = Legs { traffic, group, row_bytes, end: Frontier::start(group.len()) };
    for home in 0..group.len() {
        for node in 0..group.n_nodes() {
            let direct = node == group.node_of(home) || mode == Mode::Plain;
            let relay = if direct { home } else { group.peer(home, node) };
            let mut gathered: Vec<MessageId> = Vec::new();
            for &expert in group.on_node(node) {
                let rows = demand.to_rank(home, expert);
                gathered.extend(legs.send(expert, relay, rows, after.of(expert)));
            }
            if !direct {
                let mut deps = after.of(relay).to_vec();
                if mode == Mode::Deduplicated(Forwarding::StoreAndForward) {
                    deps.extend(gathered);
                }
                legs.send(relay, home, demand.to_node(home, node), &deps);
            }
        }
    }
    legs.end.or(after)
}

struct Legs<'a> {
    traffic: &'a mut Traffic,
    group: &'a ExpertGroup,
    row_bytes: f64,
    end: Frontier,
}

impl Legs<'_> {
    /// What stays at home, and what is nothing, is not sent.
    fn send(&mut self, from: usize, to: usize, rows: f64, deps: &[MessageId]) -> Option<MessageId> {
        if from == to || rows == 0.0 {
            return None;
        }
        let ends = (self.group.endpoint(from), self.group.endpoint(to));
        let message = self.traffic.send(ends.0, ends.1, rows * self.row_bytes, deps);
        self.end.add(from, message);
        self.end.add(to, message);
        Some(message)
    }
}
