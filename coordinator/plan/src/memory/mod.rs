//! What a rank needs of its device's memory, term by term. An estimate to plan with: allocators add a tenth or so.
//!
//! - weights: in the format of forward and backward;
//! - master weights: FP32 copies, when weights are bfloat16;
//! - gradients and both moments: FP32, or FP64 in `f64`;
//! - activations: what backward needs of a microbatch ([`activations`]) times the microbatches that the schedule keeps
//!   alive, at even load of the experts;
//! - exchange: rows sent and received by dispatch, and again by combine, of one layer, when this rank receives
//!   [`IMBALANCE`] times its even share;
//! - communication: one message each way to each neighbouring stage, and a bucket of gradients twice.
//!
//! The tensor axis divides nothing yet: its ranks count as holding everything.

mod activations;

use std::fmt;

use ds_arch::Parameter;
use serde::Serialize;

use crate::grid::RankId;
use crate::job::JobPlan;
use crate::report::bytes;
use crate::schedule::peak_live;
use crate::spec::{ComputeType, JobSpec};

/// How many times its even share of tokens a rank can receive in one layer by the estimate. Groups of experts even out
/// the worst expert; twice is seen early in training, before the bias has worked.
pub const IMBALANCE: u64 = 2;

/// Gradients that are reduced at once, in bytes.
const BUCKET_BYTES: u64 = 64 << 20;

/// What a rank needs, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// In the format of forward and backward.
    pub weights: u64,
    /// FP32 copies of bfloat16 weights.
    pub master_weights: u64,
    /// Of all its parameters.
    pub gradients: u64,
    /// Both of AdamW.
    pub moments: u64,
    /// Of all live microbatches.
    pub activations: u64,
    /// Buffers of dispatch and combine.
    pub exchange: u64,
    /// Buffers between stages and of the reduction of gradients.
    pub communication: u64,
}

impl MemoryEstimate {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.terms().iter().map(|(_, n)| n).sum()
    }

    /// Every term with its name, in order.
    pub fn terms(&self) -> [(&'static str, u64); 7] {
        [
            ("weights", self.weights),
            ("master", self.master_weights),
            ("gradients", self.gradients),
            ("moments", self.moments),
            ("activations", self.activations),
            ("exchange", self.exchange),
            ("communication", self.communication),
        ]
    }
}

impl fmt::Display for MemoryEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = self.terms().into_iter().filter(|&(_, n)| n > 0).map(|(name, n)| format!("{name} {}", bytes(n)));
        write!(f, "{} ({})", bytes(self.total()), terms.collect::<Vec<_>>().join(" + "))
    }
}

/// Bytes of an element.
#[derive(Clone, Copy)]
struct Widths {
    /// In forward and backward.
    compute: u64,
    /// Of master weights, gradients, moments, scores, logits.
    full: u64,
}

impl Widths {
    fn of(spec: &JobSpec) -> Self {
        match spec.precision.compute {
            ComputeType::F32 => Self { compute: 4, full: 4 },
            ComputeType::Bf16 => Self { compute: 2, full: 4 },
            ComputeType::F64 => Self { compute: 8, full: 8 },
        }
    }
}

impl JobPlan {
    /// What a rank needs of its device's memory. Ranks of one pipeline coordinate need the same.
    pub fn memory(&self, rank: RankId) -> MemoryEstimate {
        let pipeline = self.grid().coordinates(rank).pipeline;
        let widths = Widths::of(self.spec());
        let n_parameters: u64 = self.parameters_of(rank).iter().map(Parameter::n_elements).sum();
        let gradients = n_parameters * widths.full;
        let has_master = widths.compute != widths.full;
        MemoryEstimate {
            weights: n_parameters * widths.compute,
            master_weights: if has_master { n_parameters * widths.full } else { 0 },
            gradients,
            moments: 2 * gradients,
            activations: self.activations(pipeline, widths),
            exchange: self.exchange(pipeline, widths),
            communication: self.messages(pipeline, widths) + self.bucket(gradients),
        }
    }

    /// Tokens of a microbatch on one rank.
    pub fn microbatch_tokens(&self) -> u64 {
        let phase = &self.spec().train[0];
        u64::from(phase.microbatch) * u64::from(phase.sequence) / u64::from(self.grid().n_context())
    }

    fn activations(&self, pipeline: u32, widths: Widths) -> u64 {
        let of_stage = |stage: &crate::job::Stage| {
            let live = u64::from(peak_live(self.actions(pipeline), stage.id));
            let saved = stage.places().into_iter().map(|place| activations::saved(self.spec(), place, widths));
            live * self.microbatch_tokens() * saved.sum::<u64>()
        };
        self.stages_at(pipeline).iter().map(of_stage).sum()
    }

    fn exchange(&self, pipeline: u32, widths: Widths) -> u64 {
        let model = &self.spec().model;
        let has_experts =
            model.moe_layers().any(|layer| self.holders(ds_arch::Place::Layer(layer)).contains(&pipeline));
        if !has_experts || self.grid().n_expert() == 1 {
            return 0;
        }
        let share = self.microbatch_tokens() * u64::from(model.moe.top_k) * self.row(widths);
        2 * (share + IMBALANCE * share)
    }

    /// One activation and one gradient to or from each neighbour.
    fn messages(&self, pipeline: u32, widths: Widths) -> u64 {
        let n_neighbours = u64::from(pipeline > 0) + u64::from(pipeline + 1 < self.grid().n_pipeline());
        2 * n_neighbours * self.microbatch_tokens() * self.row(widths)
    }

    fn bucket(&self, gradients: u64) -> u64 {
        if self.grid().n_samplers() > 1 { 2 * gradients.min(BUCKET_BYTES) } else { 0 }
    }

    /// Bytes of one token's residual stream.
    fn row(&self, widths: Widths) -> u64 {
        u64::from(self.spec().model.hidden_size) * widths.compute
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{small_plans, spec, tiny_plan};

    fn of(plan: &JobPlan) -> MemoryEstimate {
        plan.memory(RankId(0))
    }

    #[test]
    fn in_f32_a_parameter_takes_16_bytes_and_in_bf16_18() {
        let n: u64 = tiny_plan(1, 1, 1).parameters_of(RankId(0)).iter().map(Parameter::n_elements).sum();
        for (compute, each) in [(ComputeType::F32, 16), (ComputeType::Bf16, 18), (ComputeType::F64, 32)] {
            let mut job = spec("tiny", 1, 1, 1);
            job.precision.compute = compute;
            let m = of(&JobPlan::new(job).unwrap());
            let state = m.weights + m.master_weights + m.gradients + m.moments;
            assert_eq!(state, each * n, "{compute:?}");
        }
    }

    #[test]
    fn f64_doubles_every_term_of_f32() {
        let mut job = spec("tiny", 2, 2, 2);
        let single = of(&JobPlan::new(job.clone()).unwrap());
        job.precision.compute = ComputeType::F64;
        let double = of(&JobPlan::new(job).unwrap());
        for ((name, a), (_, b)) in single.terms().into_iter().zip(double.terms()) {
            assert_eq!(2 * a, b, "{name}");
        }
    }

    #[test]
    fn a_rank_alone_has_no_buffers() {
        let alone = of(&tiny_plan(1, 1, 1));
        assert_eq!((alone.exchange, alone.communication), (0, 0));
        assert!(of(&tiny_plan(1, 2, 2)).exchange > 0);
        assert!(of(&tiny_plan(2, 1, 1)).communication > 0);
    }

    #[test]
    fn activations_follow_the_microbatches_that_are_alive() {
        let with_batch = |batch| {
            let mut job = spec("tiny", 4, 1, 1);
            job.train[0].batch = batch;
            of(&JobPlan::new(job).unwrap()).activations
        };
        let one = with_batch(2);
        assert_eq!([with_batch(4), with_batch(6), with_batch(8), with_batch(10)], [2, 3, 4, 4].map(|live| live * one));
    }

    #[test]
    fn ranks_of_one_pipeline_coordinate_need_the_same() {
        for plan in small_plans() {
            for rank in plan.grid().ranks() {
                let first = plan.first_rank_at(plan.grid().coordinates(rank).pipeline);
                assert_eq!(plan.memory(rank), plan.memory(first), "{:?} {rank:?}", plan.grid());
            }
        }
    }

    #[test]
    fn an_estimate_reads_as_a_sum() {
        let estimate = MemoryEstimate { weights: 1 << 20, gradients: 3 << 19, ..MemoryEstimate::default() };
        assert_eq!(estimate.to_string(), "2.5 MiB (weights 1.0 MiB + gradients 1.5 MiB)");
    }
}
