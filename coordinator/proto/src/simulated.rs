//! A step on a simulated network, as metrics have it.

use serde::{Deserialize, Serialize};

use crate::v1;

/// The step on the virtual clock of its fabric. Shares are of the step, mean over ranks, and add up to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SimulatedStep {
    /// From the first event to the last.
    pub seconds: f64,
    /// A rank computes.
    pub compute_share: f64,
    /// Communication that nothing hides.
    pub exposed_share: f64,
    /// It waits for others of a group.
    pub imbalance_share: f64,
    /// The pipeline fills and drains.
    pub bubble_share: f64,
    /// That never leave their node.
    pub bytes_within_nodes: f64,
    /// Planes of the network, in order.
    pub planes: Vec<PlaneLoad>,
    /// The busiest first; each stands for all that carried as much.
    pub links: Vec<LinkLoad>,
}

/// What a plane carries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlaneLoad {
    /// Which.
    pub plane: u32,
    /// That NICs sent into it.
    pub bytes: f64,
    /// Of what the NICs that sent could have sent in that time.
    pub utilization: f64,
    /// Utilization of its busiest link.
    pub busiest_link: f64,
}

/// What links alike carry, each of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkLoad {
    /// Of one of them.
    pub name: String,
    /// As many.
    pub count: u32,
    /// Each.
    pub bytes: f64,
    /// Each.
    pub utilization: f64,
}

impl From<SimulatedStep> for v1::SimulatedStep {
    fn from(s: SimulatedStep) -> Self {
        let plane = |PlaneLoad { plane, bytes, utilization, busiest_link }| v1::PlaneLoad {
            plane,
            bytes,
            utilization,
            busiest_link,
        };
        let link = |LinkLoad { name, count, bytes, utilization }| v1::LinkLoad { name, count, bytes, utilization };
        Self {
            seconds: s.seconds,
            compute_share: s.compute_share,
            exposed_share: s.exposed_share,
            imbalance_share: s.imbalance_share,
            bubble_share: s.bubble_share,
            bytes_within_nodes: s.bytes_within_nodes,
            planes: s.planes.into_iter().map(plane).collect(),
            links: s.links.into_iter().map(link).collect(),
        }
    }
}

impl From<v1::SimulatedStep> for SimulatedStep {
    fn from(s: v1::SimulatedStep) -> Self {
        let plane = |v1::PlaneLoad { plane, bytes, utilization, busiest_link }| PlaneLoad {
            plane,
            bytes,
            utilization,
            busiest_link,
        };
        let link = |v1::LinkLoad { name, count, bytes, utilization }| LinkLoad { name, count, bytes, utilization };
        Self {
            seconds: s.seconds,
            compute_share: s.compute_share,
            exposed_share: s.exposed_share,
            imbalance_share: s.imbalance_share,
            bubble_share: s.bubble_share,
            bytes_within_nodes: s.bytes_within_nodes,
            planes: s.planes.into_iter().map(plane).collect(),
            links: s.links.into_iter().map(link).collect(),
        }
    }
}
