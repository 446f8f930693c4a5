//! The slow twin: at every event all shares from nothing, by filling all links alike. Short, so that one can see that it
//! is right.

use super::problem::{Flow, Network, Weighting};

fn path_latency(network: &Network, flow: &Flow) -> f64 {
    flow.path.iter().map(|link| network[link.0 as usize].latency).sum()
}

/// When each flow ends.
pub(super) fn finish(network: &Network, flows: &[Flow], weighting: Weighting) -> Vec<f64> {
    let weight = |flow: &Flow| match weighting {
        Weighting::Equal => 1.0,
        Weighting::InverseLatency => 1.0 / path_latency(network, flow),
    };
    let mut ended: Vec<Option<f64>> = vec![None; flows.len()];
    let mut left: Vec<f64> = flows.iter().map(|flow| flow.bytes).collect();
    let mut now = 0.0;
    while ended.contains(&None) {
        let begin = |flow: &Flow| {
            let due = flow.deps.iter().map(|dep| ended[dep.0 as usize]).collect::<Option<Vec<f64>>>()?;
            Some(due.into_iter().fold(flow.start, f64::max) + flow.delay + path_latency(network, flow))
        };
        let open = |flow: &usize| ended[*flow].is_none();
        let begins: Vec<Option<f64>> = flows.iter().map(begin).collect();
        let there = |flow: &usize| open(flow) && begins[*flow].is_some_and(|time| time <= now);
        let active: Vec<usize> = (0..flows.len()).filter(there).collect();
        let takes_time = |flow: usize| !flows[flow].path.is_empty() && left[flow] > 0.0;
        if let Some(&flow) = active.iter().find(|&&flow| !takes_time(flow)) {
            ended[flow] = begins[flow];
            continue;
        }
        let rates = rates(network, &active.iter().map(|&f| (&flows[f], weight(&flows[f]))).collect::<Vec<_>>());
        let ends = active.iter().zip(&rates).map(|(&flow, rate)| now + left[flow] / rate);
        let later = (0..flows.len()).filter(open).filter_map(|flow| begins[flow]).filter(|&time| time > now);
        let next = ends.chain(later).fold(f64::INFINITY, f64::min);
        for (&flow, rate) in active.iter().zip(&rates) {
            left[flow] -= rate * (next - now);
            if left[flow] <= rate * 1e-14 * next {
                ended[flow] = Some(next);
            }
        }
        now = next;
    }
    ended.into_iter().flatten().collect()
}

/// Bytes per second of flows that share links, each with its weight.
pub(super) fn rates(network: &Network, flows: &[(&Flow, f64)]) -> Vec<f64> {
    let mut rates: Vec<Option<f64>> = vec![None; flows.len()];
    while rates.contains(&None) {
        let level = |link: u32| {
            let (mut left, mut growing) = (network[link as usize].capacity, 0.0);
            for ((flow, weight), rate) in flows.iter().zip(&rates) {
                for _ in flow.path.iter().filter(|hop| hop.0 == link) {
                    match rate {
                        Some(rate) => left -= rate,
                        None => growing += weight,
                    }
                }
            }
            if growing > 0.0 { left.max(0.0) / growing } else { f64::INFINITY }
        };
        let levels = (0..network.len() as u32).map(|link| (level(link), link));
        let (share, full) = levels.min_by(|a, b| a.0.total_cmp(&b.0)).expect("flows cross links");
        for ((flow, weight), rate) in flows.iter().zip(&mut rates) {
            if rate.is_none() && flow.path.iter().any(|hop| hop.0 == full) {
                *rate = Some(share * weight);
            }
        }
    }
    rates.into_iter().flatten().collect()
}
