//! Where each expert's weights live: which slots hold a replica of which expert of a layer, and which placement suits
//! measured loads. Pure and exact: all ranks that see the same loads place alike.

mod assignment;
#[cfg(test)]
mod chance;
mod eplb;
mod moves;
mod of_plan;
mod pack;
mod rebalance;
mod rehearse;
mod replicate;
mod slots;

pub use eplb::eplb;
pub use moves::{Move, moves, settled};
pub use rebalance::{Decision, LoadWindow, Migration, RebalancePolicy, Stay};
pub use rehearse::{Migrated, Rehearsal, rehearse};
pub use slots::{ImpossibleSlots, SlotCounts, Slots};

use ds_arch::ExpertId;
use serde::{Deserialize, Serialize};

/// A place for the weights of one expert. A GPU has equally many, in a run: slot s lies on GPU s / (slots of a GPU).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u32);

/// What every slot holds. Invariants: every expert has a replica, and GPUs have equally many slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpertPlacement {
    /// By slot.
    experts: Vec<ExpertId>,
    /// By expert, in the order in which they were made.
    replicas: Vec<Vec<Slot>>,
    n_each: u32,
}

impl ExpertPlacement {
    /// Experts in runs, one slot each: how a job without redundant experts begins.
    ///
    /// # Panics
    /// When GPUs would hold unequal numbers, or none.
    pub fn in_order(n_experts: u32, n_gpus: u32) -> Self {
        assert!(n_gpus > 0 && n_experts.is_multiple_of(n_gpus), "{n_experts} experts lie evenly on {n_gpus} GPUs");
        Self::of((0..n_experts).map(ExpertId).collect(), n_experts, n_experts / n_gpus)
    }

    /// What the slots hold, in order; each GPU has `n_each` of them.
    ///
    /// # Panics
    /// When an expert has no slot, or the slots of the last GPU are fewer.
    pub fn of(experts: Vec<ExpertId>, n_experts: u32, n_each: u32) -> Self {
        let mut replicas = vec![Vec::new(); n_experts as usize];
        for (slot, expert) in (0..).map(Slot).zip(&experts) {
            replicas[expert.0 as usize].push(slot);
        }
        Self::new(experts, replicas, n_each)
    }

    fn new(experts: Vec<ExpertId>, replicas: Vec<Vec<Slot>>, n_each: u32) -> Self {
        assert!(replicas.iter().all(|of| !of.is_empty()), "an expert without a slot could not be reached");
        assert!(n_each > 0 && experts.len().is_multiple_of(n_each as usize), "GPUs have equally many slots");
        Self { experts, replicas, n_each }
    }

    /// Slots of all GPUs.
    pub fn n_slots(&self) -> u32 {
        self.experts.len() as u32
    }

    /// Experts of the layer.
    pub fn n_experts(&self) -> u32 {
        self.replicas.len() as u32
    }

    /// GPUs that the slots lie on.
    pub fn n_gpus(&self) -> u32 {
        self.n_slots() / self.n_each
    }

    /// What a slot holds.
    pub fn expert(&self, slot: Slot) -> ExpertId {
        self.experts[slot.0 as usize]
    }

    /// What the slots hold, in order.
    pub fn experts(&self) -> &[ExpertId] {
        &self.experts
    }

    /// What the slots of a GPU hold, in order.
    pub(crate) fn on_gpu(&self, gpu: usize) -> &[ExpertId] {
        let each = self.n_each as usize;
        &self.experts[gpu * each..(gpu + 1) * each]
    }

    /// The slots that hold an expert, in the order in which its replicas were made.
    pub fn replicas_of(&self, expert: ExpertId) -> &[Slot] {
        &self.replicas[expert.0 as usize]
    }

    /// The GPU that a slot lies on.
    pub fn gpu(&self, slot: Slot) -> u32 {
        slot.0 / self.n_each
    }

    /// The load of every GPU when the replicas of an expert share its load evenly.
    ///
    /// # Panics
    /// When there is not one load for each expert.
    pub fn gpu_loads(&self, loads: &[f64]) -> Vec<f64> {
        assert_eq!(loads.len(), self.replicas.len(), "one load for each expert");
        let share = |expert: &ExpertId| loads[expert.0 as usize] / self.replicas_of(*expert).len() as f64;
        self.experts.chunks(self.n_each as usize).map(|own| own.iter().map(share).sum()).collect()
    }

    /// How many times the mean load the busiest GPU has; 1 when there is no load.
    pub fn imbalance(&self, loads: &[f64]) -> f64 {
        let of_gpus = self.gpu_loads(loads);
        let mean = of_gpus.iter().sum::<f64>() / of_gpus.len() as f64;
        if mean > 0.0 { of_gpus.into_iter().fold(0.0, f64::max) / mean } else { 1.0 }
    }
}
