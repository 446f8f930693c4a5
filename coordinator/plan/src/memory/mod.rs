//! What a rank needs of its device's memory, term by term. An estimate to plan with.
//!
//! - weights: in the format of forward and backward ([`widths`]);
//! - master weights: FP32 copies, when weights are bfloat16 or FP8;
//! - gradients: FP32, or FP64 in `f64`; moments: both, in `precision.moments`;
//! - ZeRO divides master weights and moments (1), gradients (2) and weights (3) among the ranks of a pipeline
//!   coordinate that hold the same: data x context for dense parameters, the replicas of the expert for experts;
//! - activations: what backward needs of a microbatch ([`activations`], and on cores [`cores`]) over the microbatches that
//!   the schedule keeps alive, at even load of the experts;
//! - recomputed: what backward computes again of one layer, while it needs it;
//! - working: what the operation in progress has beside these when most is needed, on cores ([`cores`]);
//! - exchange: buffers of dispatch and combine, of one layer, at a given imbalance ([`buffers`]);
//! - communication: one message a link between stages, and buckets of gradients on their way; on cores these travel
//!   when activations are gone, and count as far as they are more;
//! - slack: a sixteenth of all that comes and goes, for what the allocator cannot use.
//!
//! Context ranks divide tokens. Tensor ranks divide matrices (not norms, gates and projections to latents) and, since
//! they share the sequence outside of matrices (arXiv 2205.05198, §4.2), all that is kept of a token.
//!
//! The EMA of the weights lies in the memory of the host, beside the part of the master weights that a rank owns.

mod activations;
mod buffers;
mod cores;
mod elements;
mod state;
mod widths;

use std::fmt;

use serde::Serialize;

use crate::grid::RankId;
use crate::job::{JobPlan, Stage};
use crate::report::bytes;
use crate::schedule::{StageId, peak_activations};
use crate::spec::{DeviceKind, Recompute};
use cores::Needs;
use widths::Widths;

/// How many times its even share of tokens a rank can receive in one layer by the estimate. Groups of experts even out
/// the worst expert; twice is seen early in training, before the bias has worked.
pub const IMBALANCE: f64 = 2.0;

/// One part in so many of what comes and goes is lost between blocks of the allocator.
const SLACK_DIVISOR: u64 = 16;

/// What a rank needs, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// In the format of forward and backward.
    pub weights: u64,
    /// FP32 copies of weights in a shorter format.
    pub master_weights: u64,
    /// Of all its parameters.
    pub gradients: u64,
    /// Both of AdamW.
    pub moments: u64,
    /// Of all live microbatches.
    pub activations: u64,
    /// Of one layer, computed again for its backward.
    pub recomputed: u64,
    /// Of the operation in progress when most is needed.
    pub working: u64,
    /// Buffers of dispatch and combine.
    pub exchange: u64,
    /// Buffers between stages and of the reduction of gradients.
    pub communication: u64,
    /// Lost between blocks of the allocator.
    pub slack: u64,
    /// The EMA of the weights, in the memory of the host; not part of the total.
    pub host_ema: u64,
}

impl MemoryEstimate {
    /// All of it that lies on the device.
    pub fn total(&self) -> u64 {
        self.terms().iter().map(|(_, n)| n).sum()
    }

    /// All of it, where the device is the host.
    pub fn of_cores(&self) -> u64 {
        self.total() + self.host_ema
    }

    /// Every term on the device with its name, in order.
    pub fn terms(&self) -> [(&'static str, u64); 10] {
        [
            ("weights", self.weights),
            ("master", self.master_weights),
            ("gradients", self.gradients),
            ("moments", self.moments),
            ("activations", self.activations),
            ("recomputed", self.recomputed),
            ("working", self.working),
            ("exchange", self.exchange),
            ("communication", self.communication),
            ("slack", self.slack),
        ]
    }
}

impl fmt::Display for MemoryEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = self.terms().into_iter().filter(|&(_, n)| n > 0).map(|(name, n)| format!("{name} {}", bytes(n)));
        write!(f, "{} ({})", bytes(self.total()), terms.collect::<Vec<_>>().join(" + "))
    }
}

impl JobPlan {
    /// What a rank needs of its device's memory. Ranks of one pipeline coordinate need the same.
    pub fn memory(&self, rank: RankId) -> MemoryEstimate {
        self.memory_at(self.grid().coordinates(rank).pipeline, IMBALANCE)
    }

    /// Likewise, of a rank of that pipeline coordinate that receives `imbalance` times its even share of tokens.
    pub fn memory_at(&self, pipeline: u32, imbalance: f64) -> MemoryEstimate {
        let widths = Widths::of(self.spec());
        let held = self.held_elements(pipeline);
        let state = self.state(held, widths);
        let on_cores = self.on_cores(pipeline, widths);
        let activations = self.activations(pipeline, widths, on_cores.as_deref());
        let Needs { recomputed, work: working, .. } = self.beyond_kept(pipeline, widths, on_cores.as_deref());
        let exchange = self.exchange(pipeline, widths, imbalance);
        let lets_go = on_cores.map_or(0, |_| activations + recomputed + working);
        let communication = self.communication(pipeline, held, state.gradients, lets_go, widths);
        MemoryEstimate {
            weights: state.weights,
            master_weights: state.master_weights,
            gradients: state.gradients,
            moments: state.moments,
            activations,
            recomputed,
            working,
            exchange,
            communication,
            slack: (activations + recomputed + working + exchange + communication) / SLACK_DIVISOR,
            host_ema: state.host_ema,
        }
    }

    /// Elements of the parameters that a rank of that pipeline coordinate holds, before ZeRO divides any.
    pub fn n_parameters_at(&self, pipeline: u32) -> u64 {
        let held = self.held_elements(pipeline);
        held.dense + held.experts
    }

    /// Tokens of a microbatch on one rank.
    pub fn microbatch_tokens(&self) -> u64 {
        let phase = &self.spec().train[0];
        u64::from(phase.microbatch) * u64::from(phase.sequence) / u64::from(self.grid().n_context())
    }

    /// Tokens whose activations a rank keeps, of one microbatch: tensor ranks share them.
    fn tokens_kept(&self) -> u64 {
        self.microbatch_tokens().div_ceil(self.grid().n_tensor().into())
    }

    /// What the stages of a coordinate need of a microbatch on cores, stage by stage; none where that is not known.
    fn on_cores(&self, pipeline: u32, widths: Widths) -> Option<Vec<Needs>> {
        let spec = self.spec();
        if spec.cluster.device != DeviceKind::Cpu || !cores::are_known(spec) {
            return None;
        }
        let n_local = u64::from(self.n_expert_slots() / self.grid().n_expert());
        let blocks = |place| cores::blocks(spec, place, widths, n_local);
        let needs = |stage: &Stage| {
            let blocks: Vec<_> = stage.places().into_iter().flat_map(blocks).collect();
            cores::needs(&blocks, spec.parallel.recompute, self.tokens_kept())
        };
        Some(self.stages_at(pipeline).iter().map(needs).collect())
    }

    fn activations(&self, pipeline: u32, widths: Widths, on_cores: Option<&[Needs]>) -> u64 {
        let recompute = self.spec().parallel.recompute;
        let saved = |place| activations::saved(self.spec(), place, widths, recompute, self.tokens_kept());
        let stages = self.stages_at(pipeline);
        let size = |i: usize| on_cores.map_or_else(|| stages[i].places().into_iter().map(saved).sum(), |n| n[i].kept);
        let sizes: Vec<(StageId, u64)> = stages.iter().enumerate().map(|(i, stage)| (stage.id, size(i))).collect();
        peak_activations(self.actions(pipeline), |piece| {
            sizes.iter().find(|(stage, _)| *stage == piece.stage).map_or(0, |(_, size)| *size)
        })
    }

    /// The most that backward of one place computes again, and on cores what the block in progress has besides.
    fn beyond_kept(&self, pipeline: u32, widths: Widths, on_cores: Option<&[Needs]>) -> Needs {
        if let Some(stages) = on_cores {
            return stages.iter().copied().max_by_key(|needs| needs.recomputed + needs.work).unwrap_or_default();
        }
        let saved = |place, recompute| activations::saved(self.spec(), place, widths, recompute, self.tokens_kept());
        let places = self.stages_at(pipeline).iter().flat_map(Stage::places);
        let again = |place| saved(place, Recompute::None) - saved(place, self.spec().parallel.recompute);
        Needs { recomputed: places.map(again).max().unwrap_or(0), ..Needs::default() }
    }
}

#[cfg(test)]
mod tests;
