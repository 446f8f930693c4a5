//! Whether every node can still reach every other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{FabricRoutes, Policy};
use crate::fabric::{Fabric, switch_of_host};
use crate::flow::LinkId;
use crate::{EndpointId, NoRoute, Routes};

/// Two endpoints between which no path is left, when there are any. Nodes under the same switches with the same ports
/// down are alike, so one of each sort is asked.
///
/// # Errors
/// Names the two endpoints.
pub fn reachable(fabric: &Arc<Fabric>) -> Result<(), NoRoute> {
    if fabric.all_up() {
        return Ok(());
    }
    let mut sorts: BTreeMap<Vec<(u32, bool, bool)>, Vec<u32>> = BTreeMap::new();
    for node in 0..fabric.n_nodes() {
        let of_kind = sorts.entry(sort(fabric, node)).or_default();
        // One for all others, two for each other.
        if of_kind.len() < 2 {
            of_kind.push(node);
        }
    }
    let mut routes = FabricRoutes::new(fabric.clone(), Policy::Static);
    let first: Vec<u32> = sorts.values().map(|nodes| nodes[0]).collect();
    let among = first.iter().flat_map(|from| first.iter().map(move |to| (*from, *to)));
    let alike = sorts.values().filter(|nodes| nodes.len() > 1).map(|nodes| (nodes[0], nodes[1]));
    for (from, to) in among.chain(alike) {
        between(&mut routes, from, to)?;
    }
    Ok(())
}

/// From every GPU of a node to every GPU of another.
fn between(routes: &mut FabricRoutes, from: u32, to: u32) -> Result<(), NoRoute> {
    let per_node = routes.endpoints_per_node();
    for (one, other) in (0..per_node).flat_map(|one| (0..per_node).map(move |other| (one, other))) {
        let (from, to) = (EndpointId(from * per_node + one), EndpointId(to * per_node + other));
        routes.paths(from, to, 0, &mut |_, _| ())?;
    }
    Ok(())
}

/// The switch of every port, and whether the port is down; and the same of every GPU's links within the node.
fn sort(fabric: &Fabric, node: u32) -> Vec<(u32, bool, bool)> {
    let of_port = |port: u32| {
        let (_, host) = fabric.shape().plane_and_host(node, port);
        let switch = switch_of_host(fabric.plane_shape(), host);
        (switch, fabric.is_down(fabric.port_up(node, port)), fabric.is_down(fabric.port_down(node, port)))
    };
    let gpus = node * fabric.gpus_per_node()..(node + 1) * fabric.gpus_per_node();
    let down = |link: Option<LinkId>| link.is_some_and(|link| fabric.is_down(link));
    let of_gpus = gpus.map(|gpu| (u32::MAX, down(fabric.gpu_out(gpu)), down(fabric.gpu_in(gpu))));
    let n_ports = if fabric.n_planes() > 0 { fabric.shape().node.n_ports() } else { 0 };
    (0..n_ports).map(of_port).chain(of_gpus).collect()
}
