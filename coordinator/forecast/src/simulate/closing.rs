//! What ends a step: gradients are summed and scattered, the optimizer steps, weights are gathered.

use super::job::StepJob;
use super::scene::{Registry, Scene};

/// Adds the templates of a coordinate's reductions, and of its gathering of weights.
pub(super) fn add(scene: &mut Scene, job: &StepJob<'_>, at: u32, per_node: u32, registry: &mut Registry) {
    let closing = job.closing[at as usize];
    let data = scene.add_groups(job.data_groups(at));
    let replica = scene.add_groups(job.replica_groups(at));
    let mut add = |label: &str, groups: &std::ops::Range<u32>, bytes: f64| {
        let alone = scene.groups[groups.start as usize].len() < 2;
        let node = |rank: u32| job.seats[rank as usize].0 / per_node;
        (bytes > 0.0 && !alone).then(|| {
            scene.add_meeting(label.to_owned(), 0.0, groups.clone(), |ranks, give| scattered(ranks, &node, bytes, give))
        })
    };
    let reduces = [
        add("reduce-scatter of dense gradients", &data, closing.dense_gradient_bytes),
        add("reduce-scatter of experts' gradients", &replica, closing.expert_gradient_bytes),
    ];
    let gathers = [
        add("all-gather of dense weights", &data, closing.dense_weight_bytes),
        add("all-gather of experts' weights", &replica, closing.expert_weight_bytes),
    ];
    registry.reduces.push(reduces.into_iter().flatten().collect());
    registry.gathers.push(gathers.into_iter().flatten().collect());
}

/// The messages of a reduce-scatter, or, the other way round, of an all-gather: within a node every rank has a share
/// for every other one; between nodes shares go round a ring for each index. Where nodes have different numbers of
/// ranks, one ring joins all.
fn scattered(ranks: &[u32], node: &dyn Fn(u32) -> u32, bytes: f64, give: &mut dyn FnMut(u32, u32, f64)) {
    let mut nodes: Vec<Vec<u32>> = Vec::new();
    for (place, &rank) in ranks.iter().enumerate() {
        let same = nodes.iter_mut().rev().take(if place == 0 { 0 } else { 1 }).find(|on| node(on[0]) == node(rank));
        match same {
            Some(on) => on.push(rank),
            None => nodes.push(vec![rank]),
        }
    }
    let per_node = nodes[0].len();
    if nodes.iter().any(|on| on.len() != per_node) {
        return ring(ranks, bytes, give);
    }
    for on in &nodes {
        for &from in on {
            on.iter().filter(|&&to| to != from).for_each(|&to| give(from, to, bytes / per_node as f64));
        }
    }
    for index in 0..per_node {
        let across: Vec<u32> = nodes.iter().map(|on| on[index]).collect();
        ring(&across, bytes / per_node as f64, give);
    }
}

/// A rank sends (n - 1) / n of the buffer to the next one.
fn ring(ranks: &[u32], bytes: f64, give: &mut dyn FnMut(u32, u32, f64)) {
    let n = ranks.len();
    if n > 1 {
        (0..n).for_each(|place| give(ranks[place], ranks[(place + 1) % n], bytes * (n - 1) as f64 / n as f64));
    }
}
