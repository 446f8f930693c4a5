//! What one half of the hosts can send to the other.

use super::Fabric;
use super::point::switch_of_host;
use super::shape::PlaneShape;
use super::tree::{Tree2, Tree3};
use crate::flow::LinkId;

/// Rounds of power iteration; the cut of a few thousand switches stands after fewer.
const ROUNDS: u32 = 300;

impl Fabric {
    /// What one half of the hosts can send to the other, in bytes per second, over all planes; what is down carries
    /// nothing.
    ///
    /// On a tree: half of what all leaves together can send upwards (of three layers: all pods), no more than their hosts.
    /// On a graph: the cut that spectral bisection finds; there may be a smaller one.
    pub fn bisection(&self) -> f64 {
        (0..self.n_planes()).map(|plane| self.bisection_of(plane)).sum()
    }

    fn bisection_of(&self, plane: u32) -> f64 {
        let shape = self.plane_shape();
        let n_switches = shape.n_switches();
        let mut hosts = vec![0.0; n_switches as usize];
        for host in 0..shape.n_hosts() {
            hosts[switch_of_host(shape, host) as usize] += self.left(plane, 2 * host);
        }
        let cable = |number: u32| self.left(plane, 2 * shape.n_hosts() + 2 * number);
        match shape {
            PlaneShape::Tree2(tree) => tree2(tree, &hosts, cable) / 2.0,
            PlaneShape::Tree3(tree) => tree3(tree, &hosts, cable) / 2.0,
            PlaneShape::SlimFly(_) | PlaneShape::Dragonfly(_) => {
                self.spectral_cut(plane).min(hosts.iter().sum::<f64>() / 2.0)
            }
        }
    }

    /// Bytes per second of a link of a plane.
    fn left(&self, plane: u32, number: u32) -> f64 {
        let link = LinkId(self.first_of_plane(plane) + number);
        if self.is_down(link) { 0.0 } else { self.network()[link.0 as usize].capacity }
    }

    /// Splits switches at the middle of the second eigenvector of what joins them, and counts what crosses.
    fn spectral_cut(&self, plane: u32) -> f64 {
        let graph = self.graph();
        let first = 2 * self.plane_shape().n_hosts();
        let n = graph.n_switches() as usize;
        let edges: Vec<(usize, usize, f64)> = (0..graph.n_directed())
            .map(|cable| {
                let (from, to) = graph.ends(cable);
                (from as usize, to as usize, self.left(plane, first + cable))
            })
            .collect();
        let scale = edges.iter().map(|edge| edge.2).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        // Any start that is not symmetric; shifted so that the least eigenvalue is not the greatest in size.
        let mut place: Vec<f64> = (0..n).map(|i| ((i * i + 7 * i) % 101) as f64 + i as f64 / n as f64).collect();
        for _ in 0..ROUNDS {
            let mean = place.iter().sum::<f64>() / n as f64;
            place.iter_mut().for_each(|x| *x -= mean);
            let length = place.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            let mut next: Vec<f64> = place.iter().map(|x| x / length * graph.n_directed() as f64 / n as f64).collect();
            for &(from, to, left) in &edges {
                next[to] += place[from] / length * left / scale;
            }
            place = next;
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| place[a].total_cmp(&place[b]));
        let mut upper = vec![false; n];
        order[n / 2..].iter().for_each(|&switch| upper[switch] = true);
        edges.iter().filter(|edge| upper[edge.0] && !upper[edge.1]).map(|edge| edge.2).sum()
    }
}

fn tree2(tree: &Tree2, hosts: &[f64], cable: impl Fn(u32) -> f64) -> f64 {
    if tree.leaves.count() == 1 {
        return hosts[0];
    }
    let up = |leaf: u32| (0..tree.uplinks).map(|uplink| cable(tree.cable(leaf, uplink))).sum::<f64>();
    (0..tree.leaves.count()).map(|leaf| up(leaf).min(hosts[leaf as usize])).sum()
}

fn tree3(tree: &Tree3, hosts: &[f64], cable: impl Fn(u32) -> f64) -> f64 {
    let up = |leaf: u32| (0..tree.aggregations).map(|a| cable(tree.leaf_cable(leaf, a))).sum::<f64>();
    let of_leaf = |leaf: u32| up(leaf).min(hosts[leaf as usize]);
    let n_leaves = tree.leaves.count();
    let of_pod = |pod: u32| {
        let leaves = pod * tree.leaves_per_pod..((pod + 1) * tree.leaves_per_pod).min(n_leaves);
        let columns = (0..tree.aggregations).flat_map(|a| (0..tree.uplinks).map(move |u| (a, u)));
        let cores: f64 = columns.map(|(a, u)| cable(tree.core_cable(pod, a, u))).sum();
        let below: f64 = leaves.map(of_leaf).sum();
        if tree.pods() == 1 { below } else { below.min(cores) }
    };
    (0..tree.pods()).map(of_pod).sum()
}
