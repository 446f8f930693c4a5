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
    if fabric.all_up() || fabric.n_planes() == 0 {
        return Ok(());
    }
    let mut sorts: BTreeMap<Vec<(u32, bool, bool)>, Vec<u32>> = BTreeMap::new();
    for node in 0..fabric.n_nodes() {
        let of_kind = sorts.entry(sort(fabric, node)).or_default();
        // Two of a sort reach each other under their own switches.
        if of_kind.len() < 2 {
            of_kind.push(node);
        }
    }
    let nodes: Vec<u32> = sorts.into_values().flatten().collect();
    let mut routes = FabricRoutes::new(fabric.clone(), Policy::Static);
    let per_node = fabric.gpus_per_node();
    for (&from, &to) in nodes.iter().flat_map(|from| nodes.iter().map(move |to| (from, to))) {
        let gpus = (0..per_node).flat_map(|one| (0..per_node).map(move |other| (one, other)));
        for (one, other) in gpus {
            let (from, to) = (EndpointId(from * per_node + one), EndpointId(to * per_node + other));
            routes.paths(from, to, 0, &mut |_, _| ())?;
        }
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
    (0..fabric.shape().node.n_ports()).map(of_port).chain(of_gpus).collect()
}
