//! How the work of a step is divided.

use std::ops::Range;

use ds_plan::spec::ScheduleKind;

use super::{Block, Kernel, Wire};
use crate::hardware::Format;

/// What backward computes again instead of keeping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recompute {
    /// Nothing.
    None,
    /// What is cheap for the memory that it frees: unfused attention's scores (arXiv 2205.05198, §4.2), or norms and
    /// the up-projections of latent attention (arXiv 2412.19437, §3.2.3).
    Selective,
    /// Every layer.
    Full,
}

impl Recompute {
    /// What backward does again of a block.
    pub fn again(self, block: &Block) -> &[Kernel] {
        match self {
            Self::None => &[],
            Self::Selective => &block.cheap,
            Self::Full => &block.forward,
        }
    }
}

/// Which kernels the training software brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Bias, dropout and residual are kernels of their own; gradients are added in a pass of their own.
    Separate,
    /// They are fused, and weight gradients are added by the product itself; attention's scores are in memory.
    Fused,
    /// Likewise, and attention is one kernel; collectives overlap with computation where they can.
    FusedAttention,
}

impl Kernels {
    /// Whether collectives hide behind computation.
    pub(crate) fn overlaps(self) -> bool {
        self == Self::FusedAttention
    }
}

/// How often the row of a token travels to the experts and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// Once to every node that it needs and on over NVLink, within one domain once to every rank (arXiv 2412.19437,
    /// §3.2.2; DeepEP).
    Deduplicated,
    /// Once for every expert, by a plain all-to-all of the collective library (Megatron Core's `alltoall` dispatcher).
    EveryExpert,
}

/// How a step is divided among ranks and in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Ranks that share a matrix.
    pub tensor: u32,
    /// Whether they also divide what lies between matrices (arXiv 2205.05198, §4.2.2).
    pub sequence_parallel: bool,
    /// Ranks that share a sequence.
    pub context: u32,
    /// Pipeline ranks.
    pub pipeline: u32,
    /// Stages that each of them holds.
    pub virtual_stages: u32,
    /// The main layers of every stage, in the order of the model, where a plan has decided; prediction modules follow in the
    /// last stage. None: the cut that makes the dearest stage cheapest.
    pub stages: Option<Vec<Range<u32>>>,
    /// Ranks that see different samples.
    pub data: u32,
    /// Ranks that the experts of a layer are spread over.
    pub expert: u32,
    /// Whether weights are divided too and gathered when they are needed (FSDP, ZeRO-3).
    pub shard_weights: bool,
    /// Whether the optimizer's state is divided among data ranks (ZeRO-1).
    pub shard_optimizer: bool,
    /// How tokens travel to their experts.
    pub dispatch: Dispatch,
    /// What backward computes again.
    pub recompute: Recompute,
    /// The order of microbatches.
    pub schedule: ScheduleKind,
    /// Which kernels run.
    pub kernels: Kernels,
    /// Sequences of a microbatch.
    pub microbatch: u32,
    /// Microbatches of a step, on each pipeline.
    pub n_microbatches: u32,
    /// Tokens of a sequence.
    pub sequence: u32,
    /// What large matrix products multiply in.
    pub format: Format,
    /// What ranks send each other of activations.
    pub wire: Wire,
    /// Bytes of a gradient as it is reduced.
    pub gradient_bytes: f64,
}

impl Layout {
    /// Tokens of a microbatch on one rank.
    pub fn tokens(&self) -> f64 {
        f64::from(self.microbatch) * f64::from(self.sequence) / f64::from(self.context)
    }

    /// All ranks.
    pub fn n_ranks(&self) -> u32 {
        self.tensor * self.context * self.pipeline * self.data
    }

    /// Tokens of a step.
    pub fn tokens_per_step(&self) -> f64 {
        self.sequences_per_step() * f64::from(self.sequence)
    }

    /// Sequences of a step.
    pub fn sequences_per_step(&self) -> f64 {
        f64::from(self.microbatch) * f64::from(self.n_microbatches) * f64::from(self.data)
    }

    /// By how much what lies between matrices is divided.
    pub(crate) fn between(&self) -> f64 {
        if self.sequence_parallel { f64::from(self.tensor) } else { 1.0 }
    }
}
