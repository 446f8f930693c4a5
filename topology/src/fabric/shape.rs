//! A fabric's sizes, checked: how many of what, before any link is built.

use super::dragonfly::Dragonfly;
use super::slim_fly::SlimFly;
use super::tree::{Tree2, Tree3};

/// What a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeShape {
    pub(crate) gpus: u32,
    pub(crate) nics: u32,
    /// Of a NIC.
    pub(crate) ports: u32,
}

/// A plane: hosts and what joins them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PlaneShape {
    Tree2(Tree2),
    Tree3(Tree3),
    SlimFly(SlimFly),
    Dragonfly(Dragonfly),
}

/// All sizes of a fabric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) nodes: u32,
    pub(crate) node: NodeShape,
    /// Disjoint and alike; none for a single node.
    pub(crate) planes: u32,
    pub(crate) plane: Option<PlaneShape>,
}

impl NodeShape {
    /// NIC ports.
    pub(crate) fn n_ports(&self) -> u32 {
        self.nics * self.ports
    }

    /// Ports of the NICs that belong to a GPU: the first of them, and how many. GPUs may share them.
    pub(crate) fn own_ports(&self, gpu: u32) -> (u32, u32) {
        let n_nics = (self.nics / self.gpus).max(1);
        let first = if self.nics >= self.gpus { gpu * n_nics } else { gpu / (self.gpus / self.nics) };
        (first * self.ports, n_nics * self.ports)
    }

    /// A GPU that a port belongs to; of several, one that varies with `of`.
    pub(crate) fn gpu_of_port(&self, port: u32, of: u32) -> u32 {
        let nic = port / self.ports;
        if self.nics >= self.gpus {
            return nic / (self.nics / self.gpus);
        }
        let sharers = self.gpus / self.nics;
        nic * sharers + of % sharers
    }
}

impl PlaneShape {
    /// Ports of NICs.
    pub(crate) fn n_hosts(&self) -> u32 {
        match self {
            Self::Tree2(tree) => tree.leaves.hosts,
            Self::Tree3(tree) => tree.leaves.hosts,
            Self::SlimFly(fly) => fly.hosts,
            Self::Dragonfly(fly) => fly.hosts,
        }
    }

    /// Switches.
    pub(crate) fn n_switches(&self) -> u32 {
        match self {
            Self::Tree2(tree) => tree.leaves.count() + if tree.uplinks > 0 { tree.spines } else { 0 },
            Self::Tree3(tree) => tree.leaves.count() + tree.pods() * tree.aggregations + tree.aggregations * tree.cores,
            Self::SlimFly(fly) => fly.n_switches(),
            Self::Dragonfly(fly) => fly.n_switches(),
        }
    }

    /// Cables between switches.
    pub(crate) fn n_cables(&self) -> u32 {
        match self {
            Self::Tree2(tree) => tree.n_cables(),
            Self::Tree3(tree) => tree.n_cables(),
            Self::SlimFly(fly) => fly.n_cables(),
            Self::Dragonfly(fly) => fly.n_cables(),
        }
    }
}

impl Shape {
    /// GPUs of all nodes.
    pub(crate) fn n_gpus(&self) -> u32 {
        self.nodes * self.node.gpus
    }

    /// NIC ports of a node on each plane.
    pub(crate) fn ports_per_plane(&self) -> u32 {
        self.node.n_ports().checked_div(self.planes).unwrap_or(0)
    }

    /// The plane of a port, and the host that it is there.
    pub(crate) fn plane_and_host(&self, node: u32, port: u32) -> (u32, u32) {
        (port % self.planes, node * self.ports_per_plane() + port / self.planes)
    }

    /// The other way round: node and port.
    pub(crate) fn node_and_port(&self, plane: u32, host: u32) -> (u32, u32) {
        let per_plane = self.ports_per_plane();
        (host / per_plane, host % per_plane * self.planes + plane)
    }
}
