//! What a run starts from: links, the limits of flows as links of their own, and all paths that flows will ever take.

use std::borrow::Cow;

use super::change::Change;
use super::flow_set::FlowSet;
use super::paths::{PathId, Paths};
use super::problem::{FlowId, LinkId, Network, Weighting};
use super::shares::{Capacity, Shares};

/// Shares without any flow yet, and changes with their paths.
pub(super) struct Setting<'a> {
    pub(super) shares: Shares<'a>,
    /// The next last.
    pub(super) changes: Vec<(&'a Change, Option<PathId>)>,
}

impl<'a> Setting<'a> {
    pub(super) fn new(network: &'a Network, flows: &'a FlowSet, weighting: Weighting, changes: &'a [Change]) -> Self {
        let weights: Vec<f64> = match weighting {
            Weighting::Equal => Vec::new(),
            Weighting::InverseLatency => flows.numbers().map(|flow| weight_of(network, flows, flow)).collect(),
        };
        let limits = Limits::new(network, flows, weighting, changes, &weights);
        let mut paths = if limits.levels.is_empty() { Cow::Borrowed(&flows.paths) } else { Cow::Owned(limits.paths()) };
        let mut changes: Vec<(&Change, Option<PathId>)> = changes.iter().map(|change| (change, None)).collect();
        changes.sort_by(|(a, _), (b, _)| a.at().total_cmp(&b.at()));
        for (change, path) in &mut changes {
            if let Change::Reroute { flow, path: links, .. } = change {
                let own = limits.link_over(*flow, links);
                *path = Some(paths.to_mut().add(links.iter().map(|link| link.0).chain(own)));
            }
        }
        changes.reverse();
        let links = network.iter().map(|link| Capacity::Shared(link.capacity));
        let own = limits.levels.iter().map(|&level| Capacity::Each(level));
        Self { shares: Shares::new(links.chain(own), paths, weights), changes }
    }
}

fn weight_of(network: &Network, flows: &FlowSet, flow: u32) -> f64 {
    let latency = flows.latency(network, flow);
    if latency > 0.0 { 1.0 / latency } else { 1.0 }
}

/// The weight of a flow over these links.
pub(super) fn weight_over(network: &Network, links: &[LinkId], weighting: Weighting) -> f64 {
    match weighting {
        Weighting::Equal => 1.0,
        Weighting::InverseLatency => 1.0 / links.iter().map(|link| network[link.0 as usize].latency).sum::<f64>(),
    }
}

/// Own limits of flows. Flows whose limits are the same per unit of weight have one link in common that gives each of
/// them so much, however many they are.
struct Limits<'a> {
    network: &'a Network,
    flows: &'a FlowSet,
    weighting: Weighting,
    weights: &'a [f64],
    /// Bytes per second for a unit of weight, rising.
    levels: Vec<f64>,
}

impl<'a> Limits<'a> {
    fn new(
        network: &'a Network,
        flows: &'a FlowSet,
        weighting: Weighting,
        changes: &[Change],
        weights: &'a [f64],
    ) -> Self {
        let mut limits = Self { network, flows, weighting, weights, levels: Vec::new() };
        if !flows.has_limits() {
            return limits;
        }
        let of_flow = |flow| limits.level(flow);
        let later = changes.iter().filter_map(|change| match change {
            Change::Reroute { flow, path, .. } => limits.level_over(*flow, path),
            Change::Capacity { .. } => None,
        });
        let mut levels: Vec<f64> = flows.numbers().filter_map(of_flow).chain(later).collect();
        levels.sort_unstable_by(f64::total_cmp);
        levels.dedup();
        limits.levels = levels;
        limits
    }

    fn level(&self, flow: u32) -> Option<f64> {
        let level = self.flows.limit(flow) / self.weights.get(flow as usize).copied().unwrap_or(1.0);
        level.is_finite().then_some(level)
    }

    fn level_over(&self, flow: FlowId, links: &[LinkId]) -> Option<f64> {
        let level = self.flows.limit(flow.0) / weight_over(self.network, links, self.weighting);
        level.is_finite().then_some(level)
    }

    fn link(&self, level: Option<f64>) -> Option<u32> {
        let level = level?;
        let place = self.levels.binary_search_by(|known| known.total_cmp(&level));
        Some(self.network.len() as u32 + place.ok()? as u32)
    }

    fn link_over(&self, flow: FlowId, links: &[LinkId]) -> Option<u32> {
        self.link(self.level_over(flow, links))
    }

    /// The paths of all flows, with the links of their limits.
    fn paths(&self) -> Paths {
        let mut paths = Paths::default();
        for flow in self.flows.numbers() {
            let links = self.flows.paths.of(flow);
            // What only takes time has no rate that could be limited.
            let own = self.link(self.level(flow)).filter(|_| !links.is_empty());
            let path = paths.add(links.iter().copied().chain(own));
            paths.push_flow(path);
        }
        paths
    }
}
