//! Fat-trees by arithmetic: which leaf a host is on, and which cable is which. No tables, so that 131,072 GPUs cost
//! nothing.
//!
//! Cables between switches are numbered pair by pair: the link upwards, then the link downwards.

/// Hosts under leaves. With rails, hosts of equal number modulo `rails` share leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaves {
    /// Of the plane.
    pub(crate) hosts: u32,
    /// One where there are none.
    pub(crate) rails: u32,
    /// Ports of a leaf that lead to hosts.
    pub(crate) per_leaf: u32,
}

impl Leaves {
    /// How many.
    pub(crate) fn count(&self) -> u32 {
        (self.hosts / self.rails).div_ceil(self.per_leaf) * self.rails
    }

    /// Where a host is.
    pub(crate) fn of(&self, host: u32) -> u32 {
        (host / self.rails / self.per_leaf) * self.rails + host % self.rails
    }
}

/// Leaves and spines; every leaf has as many cables to each spine as to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree2 {
    pub(crate) leaves: Leaves,
    /// Cables of a leaf; cable `u` goes to spine `u % spines`.
    pub(crate) uplinks: u32,
    pub(crate) spines: u32,
}

/// Pods of leaves and aggregation switches, under cores. Every leaf has one cable to each aggregation switch of its pod;
/// aggregation switches of equal number form a column with cores of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree3 {
    pub(crate) leaves: Leaves,
    pub(crate) leaves_per_pod: u32,
    /// Of a pod, and the cables of a leaf.
    pub(crate) aggregations: u32,
    /// Cables of an aggregation switch; cable `u` goes to core `u % cores` of its column.
    pub(crate) uplinks: u32,
    /// Of a column.
    pub(crate) cores: u32,
}

impl Tree2 {
    /// Between switches.
    pub(crate) fn n_cables(&self) -> u32 {
        self.leaves.count() * self.uplinks
    }

    /// The cable of a leaf.
    pub(crate) fn cable(&self, leaf: u32, uplink: u32) -> u32 {
        leaf * self.uplinks + uplink
    }
}

impl Tree3 {
    /// How many.
    pub(crate) fn pods(&self) -> u32 {
        self.leaves.count().div_ceil(self.leaves_per_pod)
    }

    /// From leaves to aggregation switches.
    pub(crate) fn n_leaf_cables(&self) -> u32 {
        self.leaves.count() * self.aggregations
    }

    /// Between switches.
    pub(crate) fn n_cables(&self) -> u32 {
        self.n_leaf_cables() + self.pods() * self.aggregations * self.uplinks
    }

    /// The cable of a leaf.
    pub(crate) fn leaf_cable(&self, leaf: u32, aggregation: u32) -> u32 {
        leaf * self.aggregations + aggregation
    }

    /// The cable of an aggregation switch.
    pub(crate) fn core_cable(&self, pod: u32, aggregation: u32, uplink: u32) -> u32 {
        self.n_leaf_cables() + (pod * self.aggregations + aggregation) * self.uplinks + uplink
    }
}
