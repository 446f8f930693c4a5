//! Exchange limited by nodes (arXiv 2412.19437, §3.2.2): a token crosses to a node once, to the rank of the same index
//! there, which forwards it to the ranks of its experts; on the way back each node adds its results, and one row a
//! token returns.

use ds_forecast::Exchange;
use ds_model::{Arrival, Coming, Leg, ModelError, SummingExchange, Visitors, Visits};
use ds_proto::ExchangeBytes;
use tch::{Device, Kind, Tensor};

use super::choices::Choices;
use super::wire::Format;
use super::{Booked, Cargo, Underway, row_bytes};
use crate::comm::Group;

/// The ranks that share a layer's experts, cut into nodes: place p of the group is index `p % L` on node `p / L`.
pub(crate) struct Nodes {
    /// Those of the same index, node after node.
    pub(crate) peers: Group,
    /// Those of the same node, L of them.
    pub(crate) node: Group,
}

impl Booked<'_> {
    fn nodes(&self) -> &Nodes {
        self.exchange.nodes.as_ref().expect("only an exchange that is limited by nodes adds on the way")
    }

    /// Rows that need not cross, either way, since several choices of a token share one.
    fn n_saved(&self, visits: &Visits) -> u64 {
        let (to, own) = (&visits.legs[0].to, self.nodes().peers.index());
        (visits.n_away - (to.iter().sum::<i64>() - to[own])) as u64
    }

    /// Begins to tell `group` of the tokens that will come, `parts[i]` to place i: how many, by `origins`, which are runs of
    /// them.
    fn count(&self, group: &Group, parts: &[Vec<i64>], origins: &[i64]) -> Result<Underway, ModelError> {
        let counts: Vec<i64> = parts.iter().flat_map(|part| by_origin(part, origins)).collect();
        let each = vec![origins.len() as i64; group.size()];
        Ok(self.send(group, &Tensor::f_from_slice(&counts)?, (&each, &each), Cargo::Routing))
    }

    /// Tells it which of `choices` will come, once it knows how many. Gives the leg, the choices of the tokens that will come
    /// here, and how many of them come from each place, by `n_origins` runs.
    fn announce(
        &self,
        (group, counts): (&Group, Underway),
        parts: &[Vec<i64>],
        (choices, n_origins): (&Choices, usize),
        (kind, device): (Kind, Device),
    ) -> Result<(Leg, Choices, Vec<Vec<i64>>), ModelError> {
        let counts = Vec::<i64>::try_from(self.wait(counts)?)?;
        let counts: Vec<Vec<i64>> = counts.chunks(n_origins).map(<[i64]>::to_vec).collect();
        let from = counts.iter().map(|of_origins| of_origins.iter().sum()).collect();
        let leg = Leg::new(parts, choices.n() as i64, from)?;
        let rows = leg.pick(&choices.to_rows(kind)?)?;
        let came = self.wait(self.send(group, &rows, (&leg.to, &leg.from), Cargo::Routing))?;
        Ok((leg.to_device(device)?, Choices::from_rows(&came, choices.k, kind)?, counts))
    }

    /// Rows of tokens that came, `[v, d]`, back to the tokens' homes, added by rank, then by node: `[n, d]`.
    fn back<'a>(
        &'a self,
        visits: &Visits,
        rows: &Tensor,
        (format, cargo): (Format, Cargo),
    ) -> Result<Arrival<'a>, ModelError> {
        let ([across, within], n_saved) = (both(visits), self.n_saved(visits));
        let (d, kind, device) = (rows.size2()?.1, rows.kind(), rows.device());
        let Nodes { peers, node } = self.nodes();
        let pending = self.send(node, &format.encode(rows)?, (&within.from, &within.to), cargo);
        Ok(Box::new(move || {
            let came = format.decode(&self.wait(pending)?.to_device(device), d, kind)?;
            let sums = format.encode(&within.add(&came)?)?;
            if cargo != Cargo::Routing {
                self.ledger.exchange(ExchangeBytes { saved: n_saved * row_bytes(&sums), ..ExchangeBytes::default() });
            }
            let came = self.wait(self.send(peers, &sums, (&across.from, &across.to), cargo))?;
            across.add(&format.decode(&came.to_device(device), d, kind)?)
        }))
    }
}

impl SummingExchange for Booked<'_> {
    fn route<'a>(&'a self, experts: &Tensor, weights: &Tensor) -> Result<Coming<'a, Visits>, ModelError> {
        let (Nodes { peers, node }, n_local) = (self.nodes(), self.exchange.n_local);
        let format = (weights.kind(), weights.device());
        let (mine, n_on_node) = (Choices::of(experts, weights)?, n_local * node.size());
        let crossing = mine.tokens_for(0, n_on_node, peers.size());
        let counts = self.count(peers, &crossing, &[mine.n() as i64])?;
        Ok(Box::new(move || {
            let first_of_node = (peers.index() * n_on_node) as i64;
            let (across, came, _) = self.announce((peers, counts), &crossing, (&mine, 1), format)?;
            let forwarded = came.tokens_for(first_of_node, n_local, node.size());
            let counts = self.count(node, &forwarded, &across.from)?;
            let (within, came, counts) =
                self.announce((node, counts), &forwarded, (&came, across.from.len()), format)?;
            let of_relay = |(index, by_node): (usize, &Vec<i64>)| -> Vec<u32> {
                let home = |of_node: usize| (of_node * node.size() + index) as u32;
                by_node.iter().enumerate().flat_map(|(of_node, &n)| vec![home(of_node); n as usize]).collect()
            };
            let homes = counts.iter().enumerate().flat_map(of_relay).collect();
            let visitors = Visitors { k: came.k, homes, experts: came.experts, weights: came.weights };
            let first = first_of_node + (node.index() * n_local) as i64;
            let own = first_of_node..first_of_node + n_on_node as i64;
            let n_away = mine.experts.iter().filter(|&expert| !own.contains(expert)).count() as i64;
            Visits::new(&visitors, (first, n_local), (vec![across, within], n_away), format)
        }))
    }

    fn dispatch<'a>(&'a self, visits: &Visits, tokens: &Tensor) -> Result<Arrival<'a>, ModelError> {
        let ([across, within], format) = (both(visits), self.exchange.formats.dispatch);
        let (d, kind, device) = (tokens.size2()?.1, tokens.kind(), tokens.device());
        let Nodes { peers, node } = self.nodes();
        let rows = across.pick(&format.encode(tokens)?)?;
        let saved = self.n_saved(visits) * row_bytes(&rows);
        self.ledger.exchange(ExchangeBytes { saved, ..ExchangeBytes::default() });
        let cargo = Cargo::Rows(self.ledger.opens(Exchange::Dispatch, visits.arrived.iter().sum()));
        let pending = self.send(peers, &rows, (&across.to, &across.from), cargo);
        Ok(Box::new(move || {
            // Forwarded as it came: nothing is rounded twice.
            let came = self.wait(pending)?.to_device(device);
            let pending = self.send(node, &within.pick(&came)?, (&within.to, &within.from), cargo);
            format.decode(&self.wait(pending)?.to_device(device), d, kind)
        }))
    }

    fn combine<'a>(&'a self, visits: &Visits, sums: &Tensor) -> Result<Arrival<'a>, ModelError> {
        let cargo = Cargo::Rows(self.ledger.opens(Exchange::Combine, 0));
        self.back(visits, sums, (self.exchange.formats.combine, cargo))
    }

    fn return_weights(&self, visits: &Visits, gradients: &Tensor) -> Result<Tensor, ModelError> {
        self.back(visits, gradients, (Format::Compute, Cargo::Routing))?()
    }
}

fn both(visits: &Visits) -> [Leg; 2] {
    let [across, within] = &visits.legs[..] else { unreachable!("it was routed here, over two legs") };
    [across.shallow_clone(), within.shallow_clone()]
}

/// How many of `rows`, ascending, lie in each of the runs of `origins`.
fn by_origin(rows: &[i64], origins: &[i64]) -> Vec<i64> {
    let mut end = 0;
    let within = |n: &i64| {
        let start = end;
        end += n;
        rows.iter().filter(|&&row| (start..end).contains(&row)).count() as i64
    };
    origins.iter().map(within).collect()
}
