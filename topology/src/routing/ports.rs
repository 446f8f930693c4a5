//! Out of which port of a node a message leaves, into which it comes, and the hops within both nodes.

use super::policy::Policy;
use crate::fabric::Fabric;
use crate::flow::LinkId;

/// Ports of the nodes at both ends in the order in which they are tried. A port has the same number and the same plane on
/// every node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// Those of the NIC that is meant: the receiver's with PXN, the sender's without.
    first: u32,
    n_own: u32,
    n_all: u32,
    /// Which of them comes first.
    start: u32,
}

impl Ports {
    pub(super) fn new(fabric: &Fabric, policy: Policy, (from, to): (u32, u32), hashed: u64) -> Self {
        let per_node = fabric.gpus_per_node();
        let node = fabric.shape().node;
        let gpu = if fabric.pxn() { to } else { from };
        let (first, n_own) = node.own_ports(gpu % per_node);
        // By the destination; added to the sender's node so that one sender uses all its ports.
        let by_nodes = u64::from(from / per_node) + u64::from(to / per_node);
        let choice = if policy.hashes() { hashed >> 32 } else { by_nodes };
        Self { first, n_own, n_all: node.n_ports(), start: (choice % u64::from(n_own)) as u32 }
    }

    pub(super) fn n_own(&self) -> u32 {
        self.n_own
    }

    pub(super) fn n_all(&self) -> u32 {
        self.n_all
    }

    /// Own ports first, then those behind them, round and round.
    pub(super) fn nth(&self, i: u32) -> u32 {
        if i < self.n_own { self.first + (self.start + i) % self.n_own } else { (self.first + i) % self.n_all }
    }
}

/// Both ends of a way through a plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct PortPair {
    pub(super) plane: u32,
    pub(super) from_host: u32,
    pub(super) to_host: u32,
    /// Over to the GPU at the port where that is another, then up; and the other way round.
    before: [LinkId; 3],
    n_before: usize,
    after: [LinkId; 3],
    n_after: usize,
}

impl PortPair {
    pub(super) fn before(&self) -> &[LinkId] {
        &self.before[..self.n_before]
    }

    pub(super) fn after(&self) -> &[LinkId] {
        &self.after[..self.n_after]
    }

    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.before().iter().chain(self.after()).copied()
    }
}

/// The way from a GPU to another by a port of each node. None when a GPU cannot reach the port.
///
/// With PXN both ports have the same number, which is the receiver's. Without, the port is the sender's, and the receiver
/// takes the message in at a port of its own where that is on the same plane.
pub(super) fn port_pair(fabric: &Fabric, from: u32, to: u32, port: u32) -> Option<PortPair> {
    let shape = fabric.shape();
    let per_node = fabric.gpus_per_node();
    let ((from_node, from_gpu), (to_node, to_gpu)) =
        ((from / per_node, from % per_node), (to / per_node, to % per_node));
    let in_port = if fabric.pxn() { port } else { own_port_on_plane(fabric, to_node, to_gpu, port) };
    let (plane, from_host) = shape.plane_and_host(from_node, port);
    let (_, to_host) = shape.plane_and_host(to_node, in_port);
    let (up, down) = (fabric.port_up(from_node, port), fabric.port_down(to_node, in_port));
    let mut pair = PortPair { plane, from_host, to_host, before: [up; 3], n_before: 1, after: [down; 3], n_after: 1 };
    if !owns(fabric, from_gpu, port) {
        let relay = from_node * per_node + shape.node.gpu_of_port(port, from_gpu);
        (pair.before, pair.n_before) = ([fabric.gpu_out(from)?, fabric.gpu_in(relay)?, up], 3);
    }
    if !owns(fabric, to_gpu, in_port) {
        let relay = to_node * per_node + shape.node.gpu_of_port(in_port, to_gpu);
        (pair.after, pair.n_after) = ([down, fabric.gpu_out(relay)?, fabric.gpu_in(to)?], 3);
    }
    Some(pair)
}

fn owns(fabric: &Fabric, gpu: u32, port: u32) -> bool {
    let (first, n_own) = fabric.shape().node.own_ports(gpu);
    (first..first + n_own).contains(&port)
}

/// A port of the GPU on the plane of `port` that works, or else that port, at a neighbour.
fn own_port_on_plane(fabric: &Fabric, node: u32, gpu: u32, port: u32) -> u32 {
    let (first, n_own) = fabric.shape().node.own_ports(gpu);
    let same_plane = |own: &u32| own % fabric.n_planes() == port % fabric.n_planes();
    let works = |own: &u32| !fabric.is_down(fabric.port_down(node, *own));
    (first..first + n_own).filter(same_plane).find(works).unwrap_or(port)
}
