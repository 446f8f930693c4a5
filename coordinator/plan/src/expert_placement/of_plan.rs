//! What a job's spec says of slots, and when its experts move.

use ds_arch::GroupLimit;

use super::{ExpertPlacement, RebalancePolicy, SlotCounts, Slots, eplb};
use crate::job::JobPlan;
use crate::spec::PlacementPolicy;

impl JobPlan {
    /// Slots of an expert group: one for every expert of a layer, and the spare ones.
    pub fn n_expert_slots(&self) -> u32 {
        let spare = match self.spec().balance.placement {
            PlacementPolicy::Fixed => 0,
            PlacementPolicy::Eplb { redundant, .. } => redundant,
        };
        self.spec().model.moe.n_experts + spare
    }

    /// The slots of an expert group, on nodes of `cluster.gpus_per_node` ranks.
    ///
    /// # Panics
    /// When a rank holds no equal number of slots: the plan has refused it before.
    pub fn expert_slots(&self) -> Slots {
        let (n_gpus, moe) = (self.grid().n_expert(), &self.spec().model.moe);
        let on_node = self.grid().n_expert_on_node(self.spec().cluster.gpus_per_node);
        // Where nodes have different numbers, all ranks count as alike.
        let n_nodes = if n_gpus.is_multiple_of(on_node) { n_gpus / on_node } else { 1 };
        let n_groups = match moe.groups {
            GroupLimit::AnyGroup => 1,
            GroupLimit::AtMost { n_groups, .. } => n_groups,
        };
        let counts = SlotCounts { n_experts: moe.n_experts, n_slots: self.n_expert_slots(), n_groups, n_nodes, n_gpus };
        Slots::new(counts).expect("the plan has refused what does not divide")
    }

    /// Where the experts of every layer live when the job begins: in runs, or, with spare slots, as even loads ask.
    pub fn first_placement(&self) -> ExpertPlacement {
        let n_experts = self.spec().model.moe.n_experts;
        if self.n_expert_slots() == n_experts {
            return ExpertPlacement::in_order(n_experts, self.grid().n_expert());
        }
        eplb(&vec![1.0; n_experts as usize], self.expert_slots())
    }

    /// When experts move; none when they never do.
    pub fn rebalance(&self) -> Option<RebalancePolicy> {
        match self.spec().balance.placement {
            PlacementPolicy::Fixed => None,
            PlacementPolicy::Eplb { every, above, gain, .. } => Some(RebalancePolicy { every, above, gain }),
        }
    }
}

#[cfg(test)]
mod tests {
    use ds_arch::ExpertId;

    use super::*;
    use crate::testing::{spec, tiny_plan};

    #[test]
    fn a_job_begins_with_the_runs_that_its_ranks_hold() {
        for (data, expert) in [(2, 2), (4, 4), (4, 2), (1, 1)] {
            let plan = tiny_plan(1, data, expert);
            let (placement, n) = (plan.first_placement(), plan.spec().model.moe.n_experts);
            for rank in plan.grid().ranks() {
                let gpu = plan.grid().expert_index(rank) as usize;
                let run: Vec<ExpertId> = plan.grid().experts_of(rank, n).map(ExpertId).collect();
                assert_eq!(placement.on_gpu(gpu), run);
            }
            assert_eq!(plan.rebalance(), None);
        }
    }

    #[test]
    fn spare_slots_lie_evenly_on_ranks_and_cost_memory() {
        let mut job = spec("tiny", 1, 4, 4);
        let without = JobPlan::new(job.clone()).unwrap();
        job.cluster.gpus_per_node = Some(2);
        job.balance.placement = PlacementPolicy::Eplb { redundant: 4, every: 10, above: 0.2, gain: 0.05 };
        let plan = JobPlan::new(job).unwrap();
        let placement = plan.first_placement();
        assert_eq!((placement.n_slots(), placement.n_gpus()), (plan.spec().model.moe.n_experts + 4, 4));
        assert_eq!(plan.expert_slots().gpus_per_node(), 2);
        assert_eq!(plan.rebalance(), Some(RebalancePolicy { every: 10, above: 0.2, gain: 0.05 }));
        assert!(plan.memory_at(0, 1.0).weights > without.memory_at(0, 1.0).weights);
    }
}
