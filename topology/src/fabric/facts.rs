//! What a fabric comes to: counts, bisection, diameter, cost.

use serde::Serialize;

use super::Fabric;
use super::shape::{PlaneShape, Shape};

/// A switch whose radix is not given is paid for as one of this many ports.
pub(super) const USUAL_RADIX: u32 = 64;

/// Counts of all planes together, and what they cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Counts {
    /// GPUs.
    pub endpoints: u64,
    /// Switches.
    pub switches: u64,
    /// Cables between switches; each is two links.
    pub links: u64,
    /// Dollars, by the fabric's price list.
    pub cost: f64,
}

/// Everything about a fabric that fits on a page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    /// What it is called.
    pub name: String,
    /// Topology, as it stands in YAML; `single_node` without a network.
    pub kind: &'static str,
    /// How many.
    pub nodes: u32,
    /// How many.
    pub gpus_per_node: u32,
    /// Disjoint networks.
    pub planes: u32,
    /// Counts and cost.
    #[serde(flatten)]
    pub counts: Counts,
    /// Dollars for each endpoint.
    pub cost_per_endpoint: f64,
    /// Directed links, those within nodes among them.
    pub directed_links: usize,
    /// What one half of the hosts can send to the other, in bytes per second: the least over halves that are cut between
    /// leaves, pods or groups. With faults, what is left.
    pub bisection: f64,
    /// The same for each GPU of a half, in bytes per second.
    pub bisection_per_gpu: f64,
    /// Cables between the two switches that are farthest apart; none when some cannot reach each other.
    pub diameter: Option<u32>,
    /// Links that are down.
    pub links_down: usize,
    /// What has failed or is slow.
    pub faults: Vec<String>,
}

impl Fabric {
    /// Counts and cost.
    pub fn counts(&self) -> Counts {
        let network = self.spec().network.as_ref();
        let radix = network.and_then(|network| network.radix).unwrap_or(USUAL_RADIX);
        let link_rate = network.map_or(0.0, |network| network.link.bandwidth.0);
        let core_rate =
            network.and_then(|network| network.core_link.as_ref()).map_or(link_rate, |link| link.bandwidth.0);
        let port_rate = self.spec().node.nic.as_ref().map_or(0.0, |nic| nic.bandwidth.0);
        let Shape { planes, plane: Some(plane), .. } = self.shape() else {
            return Counts { endpoints: self.n_gpus().into(), switches: 0, links: 0, cost: 0.0 };
        };
        let all = |number: u32| u64::from(*planes) * u64::from(number);
        let core_cables = match plane {
            PlaneShape::Tree3(tree) => plane.n_cables() - tree.n_leaf_cables(),
            _ => 0,
        };
        let (switches, links) = (all(plane.n_switches()), all(plane.n_cables()));
        // Cables of two rates, paid for as so many of the first.
        let rate = |cables: u32, rate: f64| all(cables) as f64 * rate;
        let mean_rate = if links == 0 {
            0.0
        } else {
            (rate(plane.n_cables() - core_cables, link_rate) + rate(core_cables, core_rate)) / links as f64
        };
        let ports = all(plane.n_hosts());
        let cost = self.prices.total(switches * u64::from(radix), (links, mean_rate), (ports, port_rate));
        Counts { endpoints: self.n_gpus().into(), switches, links, cost }
    }

    /// Everything that fits on a page.
    pub fn facts(&self) -> Facts {
        let counts = self.counts();
        let bisection = self.bisection();
        Facts {
            name: self.name().to_owned(),
            kind: self.spec().network.as_ref().map_or("single_node", |network| network.kind.word()),
            nodes: self.n_nodes(),
            gpus_per_node: self.gpus_per_node(),
            planes: self.n_planes(),
            counts,
            cost_per_endpoint: counts.cost / counts.endpoints as f64,
            directed_links: self.network().len(),
            bisection,
            bisection_per_gpu: bisection / (f64::from(self.n_gpus()) / 2.0),
            diameter: self.diameter(),
            links_down: self.down().iter().filter(|&&down| down).count(),
            faults: self.faults().iter().map(ToString::to_string).collect(),
        }
    }
}
