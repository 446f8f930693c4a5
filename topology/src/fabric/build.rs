//! Links of a fabric, one after another: first those within nodes, then plane after plane. Their numbers are arithmetic,
//! so that routes need no tables.

use super::graph::Graph;
use super::shape::{PlaneShape, Shape};
use super::spec::{FabricSpec, NetworkKind};
use super::tree::{Tree2, Tree3};
use crate::flow::{Link, Network};

/// Capacity in bytes per second and latency in seconds.
type Speed = (f64, f64);

/// All links of the fabric.
pub(super) fn links(spec: &FabricSpec, shape: &Shape, graph: Option<&Graph>) -> Network {
    let mut links = Vec::with_capacity(n_links(spec, shape, graph));
    if let Some(within) = &spec.node.within {
        let speed = (within.achieved.unwrap_or(within.bandwidth).0, within.latency.0);
        for gpu in 0..shape.n_gpus() {
            push(&mut links, format!("g{gpu}.nvo"), speed);
            push(&mut links, format!("g{gpu}.nvi"), speed);
        }
    }
    for plane in 0..shape.planes {
        plane_links(&mut links, spec, shape, plane, graph);
    }
    links
}

fn n_links(spec: &FabricSpec, shape: &Shape, graph: Option<&Graph>) -> usize {
    let within = if spec.node.within.is_some() { 2 * shape.n_gpus() } else { 0 };
    let plane = shape.plane.as_ref().map_or(0, |plane| links_of_plane(plane, graph));
    within as usize + shape.planes as usize * plane as usize
}

/// How many links a plane has.
pub(super) fn links_of_plane(plane: &PlaneShape, graph: Option<&Graph>) -> u32 {
    2 * plane.n_hosts() + graph.map_or_else(|| 2 * plane.n_cables(), Graph::n_directed)
}

fn push(links: &mut Network, name: String, (capacity, latency): Speed) {
    links.push(Link { name, capacity, latency });
}

fn both(links: &mut Network, name: &str, speed: Speed) {
    push(links, format!("{name}.up"), speed);
    push(links, format!("{name}.dn"), speed);
}

fn plane_links(links: &mut Network, spec: &FabricSpec, shape: &Shape, plane: u32, graph: Option<&Graph>) {
    let (Some(network), Some(nic), Some(plane_shape)) = (&spec.network, &spec.node.nic, &shape.plane) else { return };
    let prefix = if shape.planes > 1 { format!("P{plane}.") } else { String::new() };
    let host = match network.kind {
        NetworkKind::SlimFly | NetworkKind::Dragonfly => 'e',
        // One NIC port a GPU: the host is the GPU.
        NetworkKind::MultiRailFatTree if shape.node.n_ports() == shape.node.gpus => 'g',
        _ => 'h',
    };
    let port_speed = (nic.achieved.unwrap_or(nic.bandwidth).0, nic.latency.0);
    for number in 0..plane_shape.n_hosts() {
        both(links, &format!("{prefix}{host}{number}"), port_speed);
    }
    let speed = (network.link.achieved.unwrap_or(network.link.bandwidth).0, network.link.latency.0);
    let core = network.core_link.as_ref().unwrap_or(&network.link);
    let core_speed = (core.achieved.unwrap_or(core.bandwidth).0, core.latency.0);
    match plane_shape {
        PlaneShape::Tree2(tree) => tree2_links(links, tree, &prefix, speed),
        PlaneShape::Tree3(tree) => tree3_links(links, tree, &prefix, speed, core_speed),
        PlaneShape::SlimFly(_) | PlaneShape::Dragonfly(_) => {
            let graph = graph.expect("these kinds have a graph");
            for cable in 0..graph.n_directed() {
                let (from, to) = graph.ends(cable);
                let lane = lane(graph.lane(cable), 2);
                push(links, format!("{prefix}r{from}-r{to}{lane}"), speed);
            }
        }
    }
}

fn tree2_links(links: &mut Network, tree: &Tree2, prefix: &str, speed: Speed) {
    for leaf in 0..tree.leaves.count() {
        let rails = tree.leaves.rails;
        let leaf = if rails > 1 { format!("L{}r{}", leaf / rails, leaf % rails) } else { format!("l{leaf}") };
        for uplink in 0..tree.uplinks {
            let (spine, lane) = (uplink % tree.spines, lane(uplink / tree.spines, tree.uplinks / tree.spines));
            both(links, &format!("{prefix}{leaf}s{spine}{lane}"), speed);
        }
    }
}

fn tree3_links(links: &mut Network, tree: &Tree3, prefix: &str, speed: Speed, core_speed: Speed) {
    for leaf in 0..tree.leaves.count() {
        let (pod, leaf) = (leaf / tree.leaves_per_pod, leaf % tree.leaves_per_pod);
        for aggregation in 0..tree.aggregations {
            both(links, &format!("{prefix}p{pod}l{leaf}a{aggregation}"), speed);
        }
    }
    for pod in 0..tree.pods() {
        for aggregation in 0..tree.aggregations {
            for uplink in 0..tree.uplinks {
                let (core, lane) = (uplink % tree.cores, lane(uplink / tree.cores, tree.uplinks / tree.cores));
                both(links, &format!("{prefix}p{pod}a{aggregation}c{core}{lane}"), core_speed);
            }
        }
    }
}

/// Nothing where one cable joins the two; a number where it is one of several.
fn lane(number: u32, of: u32) -> String {
    if of < 2 || (of == 2 && number == 0) { String::new() } else { format!("t{number}") }
}
