//! What ends a step: gradients are summed and scattered, the optimizer steps, weights are gathered.

use super::job::StepJob;
use super::scene::{Kind, Registry, Scene};

/// Adds the templates of a coordinate's reductions, and of its gathering of weights.
pub(super) fn add(scene: &mut Scene, job: &StepJob<'_>, at: u32, per_node: u32, registry: &mut Registry) {
    let closing = job.closing[at as usize];
    let data = scene.add_groups(job.data_groups(at));
    let replica = scene.add_groups(job.replica_groups(at));
    let mut add = |groups: &std::ops::Range<u32>, bytes: f64| {
        let alone = scene.groups[groups.start as usize].len() < 2;
        let node = |rank: u32| job.seats[rank as usize].0 / per_node;
        (bytes > 0.0 && !alone).then(|| {
            scene.add_meeting(Kind::Closing, 0.0, groups.clone(), |ranks, give| scattered(ranks, &node, bytes, give))
        })
    };
    let reduces = [add(&data, closing.dense_gradient_bytes), add(&replica, closing.expert_gradient_bytes)];
    let gathers = [add(&data, closing.dense_weight_bytes), add(&replica, closing.expert_weight_bytes)];
    registry.reduces.push(reduces.into_iter().flatten().collect());
    registry.gathers.push(gathers.into_iter().flatten().collect());
}

/// Adds the templates by which copies of parameters sum their gradients.
pub(super) fn add_copies(scene: &mut Scene, job: &StepJob<'_>, registry: &mut Registry) {
    registry.copies = vec![Vec::new(); job.actions.len()];
    for copies in job.copies.iter().filter(|copies| copies.bytes > 0.0) {
        let of_place = |place: u32| copies.pipelines.iter().map(|at| at * job.per_pipeline + place).collect();
        let groups = scene.add_groups((0..job.per_pipeline).map(of_place).collect());
        let template = scene.add_meeting(Kind::Closing, 0.0, groups, |ranks, give| {
            for (from, to) in ranks.iter().flat_map(|from| ranks.iter().map(move |to| (*from, *to))) {
                if from != to {
                    give(from, to, copies.bytes);
                }
            }
        });
        copies.pipelines.iter().for_each(|&at| registry.copies[at as usize].push(template));
    }
}

/// The messages of a reduce-scatter, or, the other way round, of an all-gather: within a node every rank has a share
/// for every other one; between nodes shares go round a ring for each index. Where nodes have different numbers of
/// ranks, one ring joins all.
fn scattered(ranks: &[u32], node: &dyn Fn(u32) -> u32, bytes: f64, give: &mut dyn FnMut(u32, u32, f64)) {
    // Ranks of a node that follow each other.
    let nodes: Vec<&[u32]> = ranks.chunk_by(|&a, &b| node(a) == node(b)).collect();
    let per_node = nodes[0].len();
    if nodes.iter().any(|on| on.len() != per_node) {
        return ring(ranks, bytes, give);
    }
    for on in &nodes {
        for &from in on.iter() {
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
