//! The layout of a job's plan.

use ds_plan::JobPlan;
use ds_plan::spec::{self, ComputeType};

use super::{Dispatch, Kernels, Layout, Recompute, Wire};
use crate::hardware::Format;

impl Layout {
    /// How a planned job divides its steps. Our software fuses attention and what stands between matrices.
    pub fn of(plan: &JobPlan) -> Self {
        let spec = plan.spec();
        let (parallel, phase) = (&spec.parallel, &spec.train[0]);
        Self {
            tensor: parallel.tensor,
            sequence_parallel: parallel.tensor > 1,
            context: parallel.context,
            pipeline: parallel.pipeline,
            virtual_stages: parallel.virtual_stages,
            stages: Some(plan.stages().iter().map(|stage| stage.layers.clone()).collect()),
            data: parallel.data,
            expert: parallel.expert,
            shard_weights: parallel.zero == 3,
            shard_optimizer: parallel.zero > 0,
            dispatch: Dispatch::Deduplicated,
            recompute: match parallel.recompute {
                spec::Recompute::None => Recompute::None,
                spec::Recompute::Norms => Recompute::Selective,
                spec::Recompute::Full => Recompute::Full,
            },
            schedule: parallel.schedule,
            kernels: Kernels::FusedAttention,
            microbatch: phase.microbatch,
            n_microbatches: plan.n_microbatches(),
            sequence: phase.sequence,
            format: match spec.precision.compute {
                ComputeType::F32 | ComputeType::F64 => Format::F32,
                ComputeType::Bf16 => Format::F16,
                ComputeType::Fp8 => Format::Fp8,
            },
            wire: Wire::of(&spec.precision),
            gradient_bytes: if spec.precision.compute == ComputeType::F64 { 8.0 } else { 4.0 },
        }
    }
}
