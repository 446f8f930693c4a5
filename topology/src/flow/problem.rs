//! Links and flows, as people give them.

use serde::{Deserialize, Serialize};

/// A link as its network counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkId(pub u32);

/// A flow as its list counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowId(pub u32);

/// One direction of a cable, or of a bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// For people.
    pub name: String,
    /// Bytes per second.
    pub capacity: f64,
    /// Seconds.
    pub latency: f64,
}

/// All links.
pub type Network = Vec<Link>;

/// Bytes on their way along a path; without a path, something that only takes time.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// To be carried.
    pub bytes: f64,
    /// It does not begin before, in seconds.
    pub start: f64,
    /// Seconds between its being due and its first byte; it holds no bandwidth meanwhile.
    pub delay: f64,
    /// Flows that must have ended before.
    pub deps: Vec<FlowId>,
    /// Links, in the order in which it crosses them.
    pub path: Vec<LinkId>,
}

/// How flows on a saturated link share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// Equally: pure max-min.
    Equal,
    /// In proportion to 1 / (latency of the path), as TCP does.
    InverseLatency,
}
