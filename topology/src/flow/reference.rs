//! The slow twin: at every event all shares from nothing, by filling all links alike. Short, so that one can see that it
//! is right.

use super::change::Change;
use super::problem::{Flow, LinkId, Network, Weighting};

/// What is to be simulated.
pub(super) struct Problem<'a> {
    pub(super) network: &'a Network,
    pub(super) flows: &'a [Flow],
    /// Bytes per second, by flow.
    pub(super) limits: &'a [f64],
    pub(super) weighting: Weighting,
    pub(super) changes: &'a [Change],
}

/// A flow on the path that it takes now.
#[derive(Clone)]
struct Going {
    path: Vec<LinkId>,
    latency: f64,
    left: f64,
    end: Option<f64>,
}

/// When each flow ends.
pub(super) fn finish(problem: &Problem<'_>) -> Vec<f64> {
    let Problem { flows, .. } = *problem;
    let mut network = problem.network.clone();
    let latency = |path: &[LinkId]| path.iter().map(|link| problem.network[link.0 as usize].latency).sum::<f64>();
    let going =
        |flow: &Flow| Going { path: flow.path.clone(), latency: latency(&flow.path), left: flow.bytes, end: None };
    let mut going: Vec<Going> = flows.iter().map(going).collect();
    let mut changes: Vec<&Change> = problem.changes.iter().collect();
    changes.sort_by(|a, b| b.at().total_cmp(&a.at()));
    let mut now = 0.0;
    while going.iter().any(|flow| flow.end.is_none()) {
        let leaves = |flow: &Flow, going: &[Going]| {
            let due = flow.deps.iter().map(|dep| going[dep.0 as usize].end).collect::<Option<Vec<f64>>>()?;
            Some(due.into_iter().fold(flow.start, f64::max) + flow.delay)
        };
        while let Some(change) = changes.pop_if(|change| change.at() <= now) {
            match change {
                Change::Capacity { link, bytes_per_s, .. } => network[link.0 as usize].capacity = *bytes_per_s,
                Change::Reroute { at, flow, path } => {
                    let flow = flow.0 as usize;
                    if leaves(&flows[flow], &going).is_none_or(|time| time >= *at) {
                        going[flow].latency = latency(path);
                    }
                    going[flow].path.clone_from(path);
                }
            }
        }
        let begins: Vec<Option<f64>> =
            flows.iter().zip(&going).map(|(flow, state)| Some(leaves(flow, &going)? + state.latency)).collect();
        let is_open = |flow: &usize| going[*flow].end.is_none();
        let there = |flow: &usize| is_open(flow) && begins[*flow].is_some_and(|time| time <= now);
        let active: Vec<usize> = (0..flows.len()).filter(there).collect();
        let takes_time = |flow: usize| !going[flow].path.is_empty() && going[flow].left > 0.0;
        if let Some(&flow) = active.iter().find(|&&flow| !takes_time(flow)) {
            going[flow].end = begins[flow];
            continue;
        }
        let sharer = |&flow: &usize| {
            let path = going[flow].path.as_slice();
            let weight = if problem.weighting == Weighting::Equal { 1.0 } else { 1.0 / latency(path) };
            Sharer { path, weight, limit: problem.limits[flow] }
        };
        let rates = rates(&network, &active.iter().map(sharer).collect::<Vec<_>>());
        let ends = active.iter().zip(&rates).map(|(&flow, rate)| now + going[flow].left / rate);
        let later = (0..flows.len()).filter(is_open).filter_map(|flow| begins[flow]).filter(|&time| time > now);
        let change = changes.last().map(|change| change.at());
        let next = ends.chain(later).chain(change).fold(f64::INFINITY, f64::min);
        for (&flow, rate) in active.iter().zip(&rates) {
            going[flow].left -= rate * (next - now);
            if going[flow].left <= rate * 1e-14 * next {
                going[flow].end = Some(next).filter(|_| *rate > 0.0);
            }
        }
        now = next;
    }
    going.into_iter().filter_map(|flow| flow.end).collect()
}

/// A flow that shares links.
pub(super) struct Sharer<'a> {
    pub(super) path: &'a [LinkId],
    pub(super) weight: f64,
    pub(super) limit: f64,
}

/// Bytes per second of each.
pub(super) fn rates(network: &Network, flows: &[Sharer<'_>]) -> Vec<f64> {
    let mut rates: Vec<Option<f64>> = vec![None; flows.len()];
    while rates.contains(&None) {
        let level = |link: u32| {
            let (mut left, mut growing) = (network[link as usize].capacity, 0.0);
            for (flow, rate) in flows.iter().zip(&rates) {
                for _ in flow.path.iter().filter(|hop| hop.0 == link) {
                    match rate {
                        Some(rate) => left -= rate,
                        None => growing += flow.weight,
                    }
                }
            }
            if growing > 0.0 { left.max(0.0) / growing } else { f64::INFINITY }
        };
        let levels = (0..network.len() as u32).map(|link| (level(link), link));
        let (share, full) = levels.min_by(|a, b| a.0.total_cmp(&b.0)).expect("flows cross links");
        let growing = || flows.iter().zip(&rates).enumerate().filter(|(_, (_, rate))| rate.is_none());
        let own = growing().map(|(place, (flow, _))| (flow.limit / flow.weight, place));
        let (least, place) = own.min_by(|a, b| a.0.total_cmp(&b.0)).expect("some still grow");
        if least < share {
            rates[place] = Some(flows[place].limit);
            continue;
        }
        for (flow, rate) in flows.iter().zip(&mut rates) {
            if rate.is_none() && flow.path.iter().any(|hop| hop.0 == full) {
                *rate = Some(share * flow.weight);
            }
        }
    }
    rates.into_iter().flatten().collect()
}
