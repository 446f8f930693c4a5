//! The all-to-all behind the network's exchange with experts: a row for every choice from rank to rank, or limited by
//! nodes.

mod choices;
mod node_limited;
mod sequences;
#[cfg(test)]
mod tests;
mod wire;

use std::time::{Duration, Instant};

use ds_forecast::Exchange;
use ds_model::{Arrival, Coming, ExpertExchange, ModelError, Route, SequenceExchange, SummingExchange};
use ds_plan::RankId;
use ds_proto::ExchangeBytes;
use tch::{Kind, Tensor};

use crate::comm::{CommError, Group, Pending};
use crate::step::{Cause, Entry, Ledger, now};

pub(crate) use node_limited::Nodes;
use wire::Format;
pub(crate) use wire::Formats;

/// Experts spread evenly over a group: its rank i holds the i-th run of them.
pub(crate) struct CommExchange {
    group: Group,
    /// Where tokens travel over nodes.
    nodes: Option<Nodes>,
    /// Ranks that share sequences.
    context: Option<Group>,
    /// Places of the group that share a node, in order.
    n_on_node: usize,
    n_local: usize,
    formats: Formats,
    timeout: Duration,
}

impl CommExchange {
    /// Of `n_experts` over `group`, which must divide them; an operation that takes longer than `timeout` has failed.
    pub(crate) fn new(group: Group, n_experts: u32, formats: Formats, timeout: Duration) -> Self {
        let (n_on_node, n_local) = (group.size(), n_experts as usize / group.size());
        Self { group, nodes: None, context: None, n_on_node, n_local, formats, timeout }
    }

    /// The same where so many places of the group share a node, which only counts what crosses between nodes.
    pub(crate) fn on_nodes_of(self, n_on_node: u32) -> Self {
        Self { n_on_node: n_on_node as usize, ..self }
    }

    /// The same limited by nodes, if there are any.
    pub(crate) fn over(self, nodes: Option<Nodes>) -> Self {
        Self { nodes, ..self }
    }

    /// The same among ranks that share sequences, if there are any.
    pub(crate) fn sharing(self, context: Option<Group>) -> Self {
        Self { context, ..self }
    }

    /// Books the time that it waits to a ledger.
    pub(crate) fn booked<'a>(&'a self, ledger: &'a Ledger) -> Booked<'a> {
        Booked { exchange: self, ledger }
    }

    /// The node of a member of the group.
    fn node_of(&self, rank: RankId) -> usize {
        let place = self.group.ranks().iter().position(|&other| other == rank);
        place.expect("exchanges talk to members of the expert group") / self.n_on_node
    }

    /// Rows for every rank of the group.
    fn rows_to(&self, route: &Route) -> Vec<i64> {
        route.sent.chunks(self.n_local).map(|experts| experts.iter().sum()).collect()
    }

    /// Rows from every rank of the group.
    fn rows_from(route: &Route) -> Vec<i64> {
        route.arrived_from.iter().map(|experts| experts.iter().sum()).collect()
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cargo {
    /// Tokens, results, and gradients of either, as written down there.
    Rows(Entry),
    /// What is told of them.
    Routing,
}

/// An all-to-all that has started, and when.
struct Underway {
    pending: Pending<Tensor>,
    since: Instant,
}

/// An exchange of one step.
pub(crate) struct Booked<'a> {
    exchange: &'a CommExchange,
    ledger: &'a Ledger,
}

impl Booked<'_> {
    fn wait(&self, underway: Underway) -> Result<Tensor, ModelError> {
        let deadline = now() + self.exchange.timeout;
        let came = self.ledger.book(Cause::Exchange, || underway.pending.wait(deadline)).map_err(failed)?;
        self.ledger.arrived(underway.since);
        Ok(came)
    }

    /// Starts an all-to-all in `group` and counts what leaves this rank.
    fn send(&self, group: &Group, rows: &Tensor, (to, from): (&[i64], &[i64]), cargo: Cargo) -> Underway {
        let (row_bytes, mut sent) = (row_bytes(rows), ExchangeBytes::default());
        for (&rank, &n) in group.ranks().iter().zip(to).filter(|(rank, _)| **rank != self.own()) {
            let bytes = match cargo {
                Cargo::Routing => &mut sent.routing,
                Cargo::Rows(_) if self.exchange.node_of(rank) == self.exchange.node_of(self.own()) => &mut sent.within,
                Cargo::Rows(_) => &mut sent.across,
            };
            let leaving = n as u64 * row_bytes;
            *bytes += leaving;
            if leaving > 0 {
                self.ledger.sent(if let Cargo::Rows(entry) = cargo { entry } else { None }, rank, leaving);
            }
        }
        self.ledger.exchange(sent);
        Underway { since: now(), pending: group.all_to_all(rows, to, from) }
    }

    fn own(&self) -> RankId {
        let group = &self.exchange.group;
        group.ranks()[group.index()]
    }

    /// Starts rows `[n, d]` on their way, `to[i]` of them to place i, and gives those that come.
    fn start<'a>(
        &'a self,
        rows: &Tensor,
        (format, entry): (Format, Entry),
        (to, from): (&[i64], &[i64]),
    ) -> Result<impl FnOnce() -> Result<Tensor, ModelError> + use<'a>, ModelError> {
        let (d, kind, device) = (rows.size2()?.1, rows.kind(), rows.device());
        let pending = self.send(&self.exchange.group, &format.encode(rows)?, (to, from), Cargo::Rows(entry));
        Ok(move || format.decode(&self.wait(pending)?.to_device(device), d, kind))
    }
}

impl ExpertExchange for Booked<'_> {
    fn route<'a>(&'a self, sent: Vec<i64>) -> Result<Coming<'a, Route>, ModelError> {
        let CommExchange { group, n_local, .. } = self.exchange;
        let each = vec![*n_local as i64; group.size()];
        let counts = self.send(group, &Tensor::from_slice(&sent), (&each, &each), Cargo::Routing);
        Ok(Box::new(move || {
            let counts = Vec::<i64>::try_from(self.wait(counts)?)?;
            let arrived_from: Vec<Vec<i64>> = counts.chunks(*n_local).map(<[i64]>::to_vec).collect();
            let arrived = (0..*n_local).map(|expert| arrived_from.iter().map(|from| from[expert]).sum()).collect();
            Ok(Route { sent, arrived, arrived_from })
        }))
    }

    fn dispatch<'a>(&'a self, route: &Route, rows: &Tensor) -> Result<Arrival<'a>, ModelError> {
        let (to, from) = (self.exchange.rows_to(route), CommExchange::rows_from(route));
        let entry = self.ledger.opens(Exchange::Dispatch, route.arrived.iter().sum());
        let arrival = self.start(rows, (self.exchange.formats.dispatch, entry), (&to, &from))?;
        let order = by_expert(route).map(|order| order.to_device(rows.device()));
        Ok(Box::new(move || {
            let arrived = arrival()?;
            Ok(order.map_or_else(|| arrived.shallow_clone(), |order| arrived.index_select(0, &order)))
        }))
    }

    fn combine<'a>(&'a self, route: &Route, rows: &Tensor) -> Result<Arrival<'a>, ModelError> {
        let (to, from) = (self.exchange.rows_to(route), CommExchange::rows_from(route));
        let by_source = by_expert(route).map(|order| order.argsort(0, false).to_device(rows.device()));
        let rows = by_source.map_or_else(|| rows.shallow_clone(), |order| rows.index_select(0, &order));
        let entry = self.ledger.opens(Exchange::Combine, 0);
        Ok(Box::new(self.start(&rows, (self.exchange.formats.combine, entry), (&from, &to))?))
    }

    fn summing(&self) -> Option<&dyn SummingExchange> {
        self.exchange.nodes.is_some().then_some(self)
    }

    fn sequences(&self) -> Option<&dyn SequenceExchange> {
        self.exchange.context.is_some().then_some(self)
    }
}

/// Bytes of each row of a tensor.
fn row_bytes(rows: &Tensor) -> u64 {
    let n: i64 = rows.size().iter().skip(1).product();
    n as u64 * rows.kind().elt_size_in_bytes() as u64
}

/// Rows arrive rank after rank; this is their order expert after expert. None where that is the same.
fn by_expert(route: &Route) -> Option<Tensor> {
    let (n_sources, n_local) = (route.arrived_from.len(), route.arrived.len());
    if n_sources == 1 || n_local == 1 {
        return None;
    }
    let mut starts = Vec::with_capacity(n_sources * n_local);
    let mut next = 0;
    for n in route.arrived_from.iter().flatten() {
        starts.push(next);
        next += n;
    }
    let mut order = Vec::with_capacity(next as usize);
    for expert in 0..n_local {
        for source in 0..n_sources {
            let start = starts[source * n_local + expert];
            order.extend(start..start + route.arrived_from[source][expert]);
        }
    }
    Some(Tensor::from_slice(&order).to_kind(Kind::Int64))
}

fn failed(error: CommError) -> ModelError {
    ModelError::Exchange { peer: error.culprit().map(|rank| rank.0), reason: Box::new(error) }
}
