//! A fabric for tests: nodes whose GPUs reach each other by NVLink, one NIC a GPU, one switch an index (a rail).
//! A message to another index hops to the right NIC first, as NCCL's PXN does.

use crate::flow::{Link, LinkId, Network};
use crate::{EndpointId, NoRoute, Routes};

pub(crate) struct Star {
    network: Network,
    n_nodes: u32,
    per_node: u32,
}

impl Star {
    /// NVLink 160 GB/s each way, NICs 50 GB/s each way.
    pub(crate) fn new(n_nodes: u32, per_node: u32) -> Self {
        let gpu = |g: u32| {
            let link = |kind: &str, capacity, latency| Link { name: format!("g{g}.{kind}"), capacity, latency };
            [link("nvo", 160e9, 5e-7), link("nvi", 160e9, 5e-7), link("up", 50e9, 6e-7), link("dn", 50e9, 6e-7)]
        };
        Self { network: (0..n_nodes * per_node).flat_map(gpu).collect(), n_nodes, per_node }
    }

    pub(crate) fn endpoints(&self) -> Vec<EndpointId> {
        (0..self.n_endpoints()).map(EndpointId).collect()
    }
}

impl Routes for Star {
    fn network(&self) -> &Network {
        &self.network
    }

    fn n_endpoints(&self) -> u32 {
        self.n_nodes * self.per_node
    }

    fn endpoints_per_node(&self) -> u32 {
        self.per_node
    }

    fn paths(
        &mut self,
        from: EndpointId,
        to: EndpointId,
        _key: u64,
        give: &mut dyn FnMut(f64, &[LinkId]),
    ) -> Result<(), NoRoute> {
        let link = |gpu: u32, place: u32| LinkId(4 * gpu + place);
        let (node, index) = (from.0 / self.per_node, to.0 % self.per_node);
        if node == to.0 / self.per_node {
            give(1.0, &[link(from.0, 0), link(to.0, 1)]);
            return Ok(());
        }
        let relay = node * self.per_node + index;
        if relay == from.0 {
            give(1.0, &[link(from.0, 2), link(to.0, 3)]);
        } else {
            give(1.0, &[link(from.0, 0), link(relay, 1), link(relay, 2), link(to.0, 3)]);
        }
        Ok(())
    }
}
