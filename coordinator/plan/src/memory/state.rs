//! What a rank keeps from step to step: weights, master weights, gradients and moments.

use std::collections::BTreeSet;

use ds_arch::Place;

use super::elements::elements;
use super::widths::Widths;
use crate::job::JobPlan;

/// Elements that a rank holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Of all but routed experts.
    pub(super) dense: u64,
    /// Of its routed experts.
    pub(super) experts: u64,
    /// Of the place with the most, all told.
    pub(super) largest_place: u64,
}

/// Bytes of a rank's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) weights: u64,
    pub(super) master_weights: u64,
    pub(super) gradients: u64,
    pub(super) moments: u64,
    pub(super) host_ema: u64,
}

impl JobPlan {
    /// What a rank of that pipeline coordinate holds, after tensor ranks have divided what they can.
    pub(super) fn held_elements(&self, pipeline: u32) -> Held {
        let model = &self.spec().model;
        let (grid, tensor) = (self.grid(), u64::from(self.grid().n_tensor()));
        let n_experts = u64::from(self.n_expert_slots() / grid.n_expert());
        let mut held = Held::default();
        for place in self.places_at(pipeline) {
            let of = elements(model, place);
            let dense = of.whole + of.divided.div_ceil(tensor);
            let experts = n_experts * of.expert.div_ceil(tensor);
            held.dense += dense;
            held.experts += experts;
            held.largest_place = held.largest_place.max(dense + experts);
        }
        held
    }

    /// Every place whose parameters a coordinate holds, each once.
    fn places_at(&self, pipeline: u32) -> BTreeSet<Place> {
        let stages = self.stages_at(pipeline);
        let computed = stages.iter().flat_map(crate::job::Stage::places);
        let copies = stages.iter().any(|stage| stage.holds(Place::Embedding)).then_some(Place::Embedding);
        computed.chain(copies).collect()
    }

    pub(super) fn state(&self, held: Held, widths: Widths) -> State {
        let zero = self.spec().parallel.zero;
        // Experts have fewer replicas than all else.
        let shards_dense = u64::from(self.grid().n_samplers());
        let shards_experts = shards_dense / u64::from(self.grid().n_expert());
        let elements = |from: u32| {
            if zero >= from {
                held.dense.div_ceil(shards_dense) + held.experts.div_ceil(shards_experts)
            } else {
                held.dense + held.experts
            }
        };
        let has_master = widths.weight != widths.full;
        let owned = elements(1);
        State {
            weights: elements(3) * widths.weight,
            master_weights: if has_master { owned * widths.full } else { 0 },
            gradients: elements(2) * widths.full,
            moments: 2 * owned * widths.moment,
            host_ema: if self.spec().train[0].ema { owned * widths.full } else { 0 },
        }
    }
}
