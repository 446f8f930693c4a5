//! Which way messages take through a fabric.
//!
//! Between GPUs of a node: out of one, into the other. Between nodes: out of a NIC port of the sender's node, through the
//! plane of that port, into a port of the receiver's node on the same plane. With PXN the port is the receiver's own, and
//! the sender hands the message to its neighbour at that port first; without, the port is the sender's own. What has
//! failed is by-passed the same way.

mod all_to_all;
mod found;
mod graph;
mod hash;
mod policy;
mod ports;
mod reach;
mod tree;

use std::sync::Arc;

pub use all_to_all::all_to_all;
pub use policy::{Policy, UnknownPolicy};
pub use reach::reachable;

use found::Found;
use graph::GraphRoutes;
use hash::hash;
use ports::{Ports, port_pair};

use crate::fabric::{Fabric, PlaneShape};
use crate::flow::{LinkId, Network};
use crate::{EndpointId, NoRoute, Routes};

/// Paths over a fabric by a policy.
#[derive(Clone, Debug)]
pub struct FabricRoutes {
    fabric: Arc<Fabric>,
    policy: Policy,
    /// Messages over each link so far, each by the seconds that one of its bytes takes; only where the policy follows load.
    loads: Vec<f64>,
    graph: GraphRoutes,
    found: Found,
}

/// One question: from which host of a plane to which, and what a policy may choose by.
#[derive(Clone, Copy, Debug)]
struct Ask {
    plane: u32,
    from: u32,
    to: u32,
    policy: Policy,
    /// The number that static routes take modulo the ways; random, but fixed by the seed, for hashes.
    choice: u64,
}

impl FabricRoutes {
    /// Nothing is on the way yet.
    pub fn new(fabric: impl Into<Arc<Fabric>>, policy: Policy) -> Self {
        let fabric = fabric.into();
        let n_loads = if policy == Policy::Adaptive { fabric.network().len() } else { 0 };
        let (loads, graph, found) = (vec![0.0; n_loads], GraphRoutes::default(), Found::default());
        Self { fabric, policy, loads, graph, found }
    }

    /// What it routes over.
    pub fn fabric(&self) -> &Arc<Fabric> {
        &self.fabric
    }

    /// How it chooses.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Between GPUs of one node.
    fn within(&mut self, from: u32, to: u32) -> bool {
        let (Some(out), Some(into)) = (self.fabric.gpu_out(from), self.fabric.gpu_in(to)) else { return false };
        if self.fabric.is_down(out) || self.fabric.is_down(into) {
            return false;
        }
        self.found.push(&[out, into]);
        true
    }

    /// Over the ports of the right NIC first; when none of them has a way left, over each other port of the node.
    fn between(&mut self, from: u32, to: u32, key: u64) {
        let hashed = hash([self.policy.seed(), from.into(), to.into(), key]);
        let ports = Ports::new(&self.fabric, self.policy, (from, to), hashed);
        let mut own_found = false;
        for i in 0..ports.n_all() {
            // Spraying and following load weigh all ports of the right NIC; the others take the first that works.
            let weighs_all = matches!(self.policy, Policy::Adaptive | Policy::Spray);
            if own_found && !(weighs_all && i < ports.n_own()) {
                return;
            }
            let Some(pair) = port_pair(&self.fabric, from, to, ports.nth(i)) else { continue };
            if pair.links().any(|link| self.fabric.is_down(link)) {
                continue;
            }
            let choice = match self.policy {
                policy if policy.hashes() => hashed,
                Policy::StaticRail => u64::from(pair.to_host / self.fabric.n_rails()),
                _ => u64::from(pair.to_host),
            };
            let (plane, from, to) = (pair.plane, pair.from_host, pair.to_host);
            let ask = Ask { plane, from, to, policy: self.policy, choice };
            own_found |= match self.fabric.plane_shape() {
                PlaneShape::Tree2(_) | PlaneShape::Tree3(_) => {
                    tree::ways(&self.fabric, &ask, &self.loads, &mut |middle| self.found.join(&pair, middle))
                }
                PlaneShape::SlimFly(_) | PlaneShape::Dragonfly(_) => {
                    self.graph.ways(&self.fabric, &ask, &self.loads, &mut |middle| self.found.join(&pair, middle))
                }
            };
        }
    }
}

impl Routes for FabricRoutes {
    fn network(&self) -> &Network {
        self.fabric.network()
    }

    fn n_endpoints(&self) -> u32 {
        self.fabric.n_gpus()
    }

    fn endpoints_per_node(&self) -> u32 {
        self.fabric.gpus_per_node()
    }

    fn paths(
        &mut self,
        from: EndpointId,
        to: EndpointId,
        key: u64,
        give: &mut dyn FnMut(f64, &[LinkId]),
    ) -> Result<(), NoRoute> {
        let n_gpus = self.fabric.n_gpus();
        assert!(from.0 < n_gpus && to.0 < n_gpus, "endpoints {} and {} of {n_gpus}", from.0, to.0);
        self.found.clear();
        if from == to {
            give(1.0, &[]);
            return Ok(());
        }
        let per_node = self.fabric.gpus_per_node();
        let same_node = from.0 / per_node == to.0 / per_node;
        if !(same_node && self.within(from.0, to.0)) && self.fabric.n_planes() > 0 {
            self.between(from.0, to.0, key);
        }
        if self.policy == Policy::Adaptive {
            self.found.keep_least(&self.loads);
            for &link in self.found.paths().flatten() {
                self.loads[link.0 as usize] += 1.0 / self.fabric.network()[link.0 as usize].capacity;
            }
        }
        if self.found.is_empty() {
            return Err(NoRoute { from, to });
        }
        let share = 1.0 / self.found.len() as f64;
        self.found.paths().for_each(|path| give(share, path));
        Ok(())
    }
}
