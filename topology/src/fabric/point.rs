//! What a link joins, and what switches are called.

use super::Fabric;
use super::shape::PlaneShape;
use crate::flow::LinkId;

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// A GPU, counted over all nodes.
    Gpu(u32),
    /// What joins the GPUs of a node.
    Within {
        /// The node.
        node: u32,
    },
    /// A port of a NIC.
    Port {
        /// The node.
        node: u32,
        /// Counted over the NICs of the node.
        port: u32,
    },
    /// A switch.
    Switch(Switch),
}

/// A switch of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Switch {
    /// Its plane.
    pub plane: u32,
    /// Where it stands.
    pub tier: Tier,
    /// Among those of its plane and tier.
    pub number: u32,
}

/// Where a switch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Under hosts, in a tree.
    Leaf,
    /// Above leaves, in a tree of two layers.
    Spine,
    /// Above leaves, in a tree of three; numbered pod after pod.
    Aggregation,
    /// Above aggregation switches; numbered column after column.
    Core,
    /// In a Slim Fly or Dragonfly, where all are alike.
    Flat,
}

impl Tier {
    fn word(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Spine => "spine",
            Self::Aggregation => "agg",
            Self::Core => "core",
            Self::Flat => "switch",
        }
    }
}

impl Fabric {
    /// Where a link comes from, and where it leads.
    pub fn ends(&self, link: LinkId) -> (Point, Point) {
        let Some((plane, number)) = self.plane_and_number(link) else {
            let gpu = link.0 / 2;
            let ends = (Point::Gpu(gpu), Point::Within { node: gpu / self.gpus_per_node() });
            return if link.0.is_multiple_of(2) { ends } else { (ends.1, ends.0) };
        };
        let shape = self.plane_shape();
        let switch = |tier, number| Point::Switch(Switch { plane, tier, number });
        let (up, ends) = if number < 2 * shape.n_hosts() {
            let host = number / 2;
            let (node, port) = self.shape().node_and_port(plane, host);
            (
                number.is_multiple_of(2),
                (Point::Port { node, port }, switch(tier_of_hosts(shape), switch_of_host(shape, host))),
            )
        } else {
            let number = number - 2 * shape.n_hosts();
            match shape {
                PlaneShape::Tree2(tree) => {
                    let (leaf, uplink) = (number / 2 / tree.uplinks, number / 2 % tree.uplinks);
                    (number.is_multiple_of(2), (switch(Tier::Leaf, leaf), switch(Tier::Spine, uplink % tree.spines)))
                }
                PlaneShape::Tree3(tree) if number / 2 < tree.n_leaf_cables() => {
                    let (leaf, aggregation) = (number / 2 / tree.aggregations, number / 2 % tree.aggregations);
                    let above = leaf / tree.leaves_per_pod * tree.aggregations + aggregation;
                    (number.is_multiple_of(2), (switch(Tier::Leaf, leaf), switch(Tier::Aggregation, above)))
                }
                PlaneShape::Tree3(tree) => {
                    let cable = number / 2 - tree.n_leaf_cables();
                    let (aggregation, uplink) = (cable / tree.uplinks, cable % tree.uplinks);
                    let core = aggregation % tree.aggregations * tree.cores + uplink % tree.cores;
                    (number.is_multiple_of(2), (switch(Tier::Aggregation, aggregation), switch(Tier::Core, core)))
                }
                PlaneShape::SlimFly(_) | PlaneShape::Dragonfly(_) => {
                    let (from, to) = self.graph().ends(number);
                    (true, (switch(Tier::Flat, from), switch(Tier::Flat, to)))
                }
            }
        };
        if up { ends } else { (ends.1, ends.0) }
    }

    /// What people call a switch: `leaf3`, and `leaf3.p2` where there are several planes.
    pub fn switch_name(&self, switch: Switch) -> String {
        let plane = if self.n_planes() > 1 { format!(".p{}", switch.plane) } else { String::new() };
        format!("{}{}{plane}", switch.tier.word(), switch.number)
    }

    /// The switch of a name.
    pub fn switch_named(&self, name: &str) -> Option<Switch> {
        let (tier_and_number, plane) = name.split_once(".p").unwrap_or((name, "0"));
        let tiers = [Tier::Leaf, Tier::Spine, Tier::Aggregation, Tier::Core, Tier::Flat];
        let (tier, number) =
            tiers.into_iter().find_map(|tier| Some((tier, tier_and_number.strip_prefix(tier.word())?)))?;
        let switch = Switch { plane: plane.parse().ok()?, tier, number: number.parse().ok()? };
        (switch.plane < self.n_planes() && switch.number < self.n_switches_of(tier)).then_some(switch)
    }

    /// Switches of a tier, on each plane.
    pub fn n_switches_of(&self, tier: Tier) -> u32 {
        if self.n_planes() == 0 {
            return 0;
        }
        match (self.plane_shape(), tier) {
            (PlaneShape::Tree2(tree), Tier::Leaf) => tree.leaves.count(),
            (PlaneShape::Tree2(tree), Tier::Spine) if tree.uplinks > 0 => tree.spines,
            (PlaneShape::Tree3(tree), Tier::Leaf) => tree.leaves.count(),
            (PlaneShape::Tree3(tree), Tier::Aggregation) => tree.pods() * tree.aggregations,
            (PlaneShape::Tree3(tree), Tier::Core) => tree.aggregations * tree.cores,
            (shape @ (PlaneShape::SlimFly(_) | PlaneShape::Dragonfly(_)), Tier::Flat) => shape.n_switches(),
            _ => 0,
        }
    }
}

fn tier_of_hosts(shape: &PlaneShape) -> Tier {
    match shape {
        PlaneShape::Tree2(_) | PlaneShape::Tree3(_) => Tier::Leaf,
        PlaneShape::SlimFly(_) | PlaneShape::Dragonfly(_) => Tier::Flat,
    }
}

/// The switch that a host is on, among those of its plane.
pub(crate) fn switch_of_host(shape: &PlaneShape, host: u32) -> u32 {
    match shape {
        PlaneShape::Tree2(tree) => tree.leaves.of(host),
        PlaneShape::Tree3(tree) => tree.leaves.of(host),
        PlaneShape::SlimFly(fly) => host / fly.hosts_per_switch,
        PlaneShape::Dragonfly(fly) => host / fly.hosts_per_switch,
    }
}
