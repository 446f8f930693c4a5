//! How many slots there are, and on what.

use super::ImpossibleSlots::{Experts, Gpus, TooFew, Uneven, Zero};

/// Numbers that a placement is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotCounts {
    /// Of a layer.
    pub n_experts: u32,
    /// Places for weights; what is more than experts are redundant replicas.
    pub n_slots: u32,
    /// Groups of experts that the gate limits itself to, each a run of experts; 1 when it does not.
    pub n_groups: u32,
    /// Nodes that the GPUs lie on.
    pub n_nodes: u32,
    /// Devices that the slots lie on.
    pub n_gpus: u32,
}

/// Checked numbers. Invariants: experts, slots, GPUs and groups divide as `of_nodes` and `on_gpus` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    counts: SlotCounts,
}

/// Why nothing can be placed on such slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpossibleSlots {
    /// Nothing to place, or nowhere.
    #[error("{field} is 0, at least 1 is needed")]
    Zero {
        /// Which number.
        field: &'static str,
    },
    /// An expert would have no replica.
    #[error("{n_slots} slots are fewer than {n_experts} experts, each needs one")]
    TooFew {
        /// All.
        n_slots: u32,
        /// Of a layer.
        n_experts: u32,
    },
    /// GPUs hold equally many.
    #[error("{n_slots} slots must be a multiple of {n_gpus} GPUs, since each holds as many")]
    Uneven {
        /// All.
        n_slots: u32,
        /// Devices.
        n_gpus: u32,
    },
    /// Nodes hold equally many.
    #[error("{n_gpus} GPUs must be a multiple of {n_nodes} nodes, since each holds as many")]
    Gpus {
        /// Devices.
        n_gpus: u32,
        /// Nodes.
        n_nodes: u32,
    },
    /// Groups are equally large.
    #[error("{n_experts} experts must be a multiple of {n_groups} groups, since each holds as many")]
    Experts {
        /// Of a layer.
        n_experts: u32,
        /// Of the gate.
        n_groups: u32,
    },
}

impl Slots {
    /// Checks the numbers.
    ///
    /// # Errors
    /// When nothing can be placed on them.
    pub fn new(counts: SlotCounts) -> Result<Self, ImpossibleSlots> {
        let SlotCounts { n_experts, n_slots, n_groups, n_nodes, n_gpus } = counts;
        let fields = [("n_experts", n_experts), ("n_groups", n_groups), ("n_nodes", n_nodes), ("n_gpus", n_gpus)];
        if let Some(&(field, _)) = fields.iter().find(|(_, n)| *n == 0) {
            return Err(Zero { field });
        }
        if n_slots < n_experts {
            return Err(TooFew { n_slots, n_experts });
        }
        if !n_slots.is_multiple_of(n_gpus) {
            return Err(Uneven { n_slots, n_gpus });
        }
        let slots = Self { counts };
        if slots.is_hierarchical() && !n_gpus.is_multiple_of(n_nodes) {
            return Err(Gpus { n_gpus, n_nodes });
        }
        if slots.is_hierarchical() && !n_experts.is_multiple_of(n_groups) {
            return Err(Experts { n_experts, n_groups });
        }
        Ok(slots)
    }

    /// Whether groups of experts keep to a node, which takes equally many groups on every node.
    pub fn is_hierarchical(self) -> bool {
        self.counts.n_groups.is_multiple_of(self.counts.n_nodes)
    }

    /// GPUs of a node; all of them where nodes have different numbers.
    pub fn gpus_per_node(self) -> u32 {
        let SlotCounts { n_nodes, n_gpus, .. } = self.counts;
        if n_gpus.is_multiple_of(n_nodes) { n_gpus / n_nodes } else { n_gpus }
    }

    /// Groups and nodes as far as the policy looks at them: under the global one all are one.
    pub(super) fn of_nodes(self) -> (usize, usize) {
        let SlotCounts { n_groups, n_nodes, .. } = self.counts;
        if self.is_hierarchical() { (n_groups as usize, n_nodes as usize) } else { (1, 1) }
    }

    /// Experts, slots and GPUs.
    pub(super) fn on_gpus(self) -> (usize, usize, usize) {
        let SlotCounts { n_experts, n_slots, n_gpus, .. } = self.counts;
        (n_experts as usize, n_slots as usize, n_gpus as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIT: SlotCounts = SlotCounts { n_experts: 12, n_slots: 16, n_groups: 4, n_nodes: 2, n_gpus: 8 };

    fn refused(counts: SlotCounts, sentence: &str) {
        assert_eq!(Slots::new(counts).unwrap_err().to_string(), sentence);
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_with_both_and_the_rule() {
        assert!(Slots::new(FIT).unwrap().is_hierarchical());
        refused(SlotCounts { n_gpus: 0, ..FIT }, "n_gpus is 0, at least 1 is needed");
        refused(SlotCounts { n_slots: 8, ..FIT }, "8 slots are fewer than 12 experts, each needs one");
        refused(SlotCounts { n_slots: 15, ..FIT }, "15 slots must be a multiple of 8 GPUs, since each holds as many");
        refused(
            SlotCounts { n_slots: 15, n_gpus: 5, ..FIT },
            "5 GPUs must be a multiple of 2 nodes, since each holds as many",
        );
        refused(
            SlotCounts { n_experts: 14, ..FIT },
            "14 experts must be a multiple of 4 groups, since each holds as many",
        );
    }

    #[test]
    fn groups_that_do_not_divide_among_nodes_are_placed_without_regard_to_them() {
        let slots = Slots::new(SlotCounts { n_groups: 3, n_slots: 15, n_gpus: 5, ..FIT }).unwrap();
        assert!(!slots.is_hierarchical());
        assert_eq!(slots.of_nodes(), (1, 1));
    }
}
