//! A multi-plane fat-tree for tests: GPU g of a node has its NIC on plane g; a message leaves by the plane of its
//! receiver, after a hop within the node, and goes around planes that are lost.

use ds_topology::flow::{Link, LinkId, Network};
use ds_topology::{EndpointId, NoRoute, Routes};

pub(super) struct Planes {
    network: Network,
    nodes: u32,
    per_node: u32,
    per_leaf: u32,
    spines: u32,
    pub(super) lost: Vec<u32>,
}

impl Planes {
    /// NVLink 160 GB/s, NICs and cables 50 GB/s each way.
    pub(super) fn new(nodes: u32, per_node: u32, per_leaf: u32, spines: u32) -> Self {
        let link = |name: String, capacity, latency| Link { name, capacity, latency };
        let mut network = Vec::new();
        for gpu in 0..nodes * per_node {
            network.push(link(format!("g{gpu}.nvo"), 160e9, 5e-7));
            network.push(link(format!("g{gpu}.nvi"), 160e9, 5e-7));
        }
        for plane in 0..per_node {
            for host in 0..nodes {
                network.push(link(format!("P{plane}.h{host}.up"), 50e9, 6e-7));
                network.push(link(format!("P{plane}.h{host}.dn"), 50e9, 6e-7));
            }
            for (leaf, spine) in (0..nodes.div_ceil(per_leaf)).flat_map(|l| (0..spines).map(move |s| (l, s))) {
                network.push(link(format!("P{plane}.l{leaf}s{spine}.up"), 50e9, 4e-7));
                network.push(link(format!("P{plane}.l{leaf}s{spine}.dn"), 50e9, 4e-7));
            }
        }
        Self { network, nodes, per_node, per_leaf, spines, lost: Vec::new() }
    }

    fn first_of_plane(&self, plane: u32) -> u32 {
        let per_plane = 2 * self.nodes + 2 * self.nodes.div_ceil(self.per_leaf) * self.spines;
        2 * self.nodes * self.per_node + plane * per_plane
    }

    /// Which links are lost with the planes.
    pub(super) fn down(&self) -> Vec<bool> {
        let mut down = vec![false; self.network.len()];
        for &plane in &self.lost {
            down[self.first_of_plane(plane) as usize..self.first_of_plane(plane + 1) as usize].fill(true);
        }
        down
    }

    /// The NIC of a GPU at another share of its rate.
    pub(super) fn slow_nic(mut self, gpu: u32, factor: f64) -> Self {
        let first = self.first_of_plane(gpu % self.per_node) + 2 * (gpu / self.per_node);
        for link in [first, first + 1] {
            self.network[link as usize].capacity *= factor;
        }
        self
    }
}

impl Routes for Planes {
    fn network(&self) -> &Network {
        &self.network
    }

    fn n_endpoints(&self) -> u32 {
        self.nodes * self.per_node
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
        let n = self.per_node;
        let (a, b) = (from.0 / n, to.0 / n);
        if a == b {
            give(1.0, &[LinkId(2 * from.0), LinkId(2 * to.0 + 1)]);
            return Ok(());
        }
        let plane = (0..n).map(|k| (to.0 + k) % n).find(|plane| !self.lost.contains(plane));
        let plane = plane.ok_or(NoRoute { from, to })?;
        let (out, into) = (a * n + plane, b * n + plane);
        let mut path = Vec::new();
        if out != from.0 {
            path.extend([2 * from.0, 2 * out + 1]);
        }
        let first = self.first_of_plane(plane);
        let uplink = |host: u32| first + 2 * self.nodes + 2 * (host / self.per_leaf * self.spines + b % self.spines);
        path.push(first + 2 * a);
        if a / self.per_leaf != b / self.per_leaf {
            path.extend([uplink(a), uplink(b) + 1]);
        }
        path.push(first + 2 * b + 1);
        if into != to.0 {
            path.extend([2 * into, 2 * to.0 + 1]);
        }
        give(1.0, &path.into_iter().map(LinkId).collect::<Vec<_>>());
        Ok(())
    }
}
