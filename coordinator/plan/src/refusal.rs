//! What a plan refuses. The spec's reader finds the same faults earlier, all at once and with their lines; this is the
//! last door, for specs that were built or changed in memory.

use crate::schedule::{ImpossibleSchedule, Schedule, fits_virtual};
use crate::spec::{ExchangeKind, JobSpec, PlacementPolicy};

/// Why a spec has no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing can be divided by zero.
    #[error("{field} is 0, at least 1 is needed")]
    Zero {
        /// The key path.
        field: &'static str,
    },
    /// The number of ranks does not fit.
    #[error(
        "parallel: pipeline {pipeline} x data {data} x context {context} x tensor {tensor} is more than {most} ranks"
    )]
    TooManyRanks {
        /// Axis.
        pipeline: u32,
        /// Axis.
        data: u32,
        /// Axis.
        context: u32,
        /// Axis.
        tensor: u32,
        /// The limit.
        most: u32,
    },
    /// Expert groups are cut from data × context.
    #[error(
        "parallel: expert {expert} must divide data {data} x context {context}, since experts are spread over them"
    )]
    ExpertsDoNotDivide {
        /// Axis.
        expert: u32,
        /// Axis.
        data: u32,
        /// Axis.
        context: u32,
    },
    /// Expert ranks hold equal runs.
    #[error("parallel: expert {expert} must divide model.moe.n_experts {n_experts}, since every rank holds as many")]
    ExpertsLeftOver {
        /// Axis.
        expert: u32,
        /// Of a layer.
        n_experts: u32,
    },
    /// Nodes cut expert groups into equal parts.
    #[error(
        "cluster: gpus_per_node {gpus_per_node} must be a multiple of parallel.expert {expert} x tensor {tensor}, or \
         divide it and be a multiple of tensor, since every node has as many ranks of an expert group"
    )]
    NodesDoNotDivide {
        /// Ranks that share a node.
        gpus_per_node: u32,
        /// Axis.
        expert: u32,
        /// Axis.
        tensor: u32,
    },
    /// Expert ranks hold equal numbers of slots.
    #[error(
        "balance.redundant: model.moe.n_experts {n_experts} + redundant {redundant} slots must be a multiple of \
         parallel.expert {expert}, since every rank holds as many"
    )]
    SlotsLeftOver {
        /// Of a layer.
        n_experts: u32,
        /// Spare slots.
        redundant: u32,
        /// Axis.
        expert: u32,
    },
    /// Every stage has a layer.
    #[error("parallel: {n_stages} stages need as many layers, model.n_layers is {n_layers}")]
    TooFewLayers {
        /// Of the pipeline.
        n_stages: u32,
        /// Main layers.
        n_layers: u32,
    },
    /// Every rank has as many microbatches.
    #[error("train: batch {batch} must be a multiple of data {data} x microbatch {microbatch}")]
    BatchDoesNotDivide {
        /// Sequences of a step.
        batch: u32,
        /// Axis.
        data: u32,
        /// Sequences of a microbatch.
        microbatch: u32,
    },
    /// Every context rank has as many tokens.
    #[error("train: sequence {sequence} must be a multiple of parallel.context {context}")]
    SequenceDoesNotDivide {
        /// Tokens.
        sequence: u32,
        /// Axis.
        context: u32,
    },
    /// The schedule has no such size.
    #[error("parallel.schedule: {0}")]
    Schedule(#[from] ImpossibleSchedule),
    /// There is nothing to do.
    #[error("train has {phases} phases, exactly 1 is planned for now")]
    Phases {
        /// How many there are.
        phases: usize,
    },
}

// Far more than any cluster has GPUs, and small enough that a plan's tables fit in memory.
pub(crate) const MOST_RANKS: u32 = 1 << 18;

/// Whether nodes cut every expert group into equal parts, where that matters.
pub(crate) fn fits_nodes(spec: &JobSpec) -> bool {
    let (tensor, n_ranks) = (spec.parallel.tensor, spec.parallel.expert.saturating_mul(spec.parallel.tensor));
    let fits = |n: u32| n.is_multiple_of(n_ranks) || (n_ranks.is_multiple_of(n) && n.is_multiple_of(tensor));
    spec.parallel.exchange == ExchangeKind::Plain || spec.cluster.gpus_per_node.is_none_or(fits)
}

/// Checks the spec and gives the schedule of its pipelines.
pub(crate) fn refuse(spec: &JobSpec) -> Result<Schedule, PlanError> {
    let [phase] = spec.train.as_slice() else { return Err(PlanError::Phases { phases: spec.train.len() }) };
    let parallel = &spec.parallel;
    let (pipeline, data, context, tensor) = (parallel.pipeline, parallel.data, parallel.context, parallel.tensor);
    for (field, value) in [
        ("parallel.pipeline", pipeline),
        ("parallel.data", data),
        ("parallel.context", context),
        ("parallel.tensor", tensor),
        ("parallel.expert", parallel.expert),
        ("parallel.virtual_stages", parallel.virtual_stages),
        ("train.batch", phase.batch),
        ("train.microbatch", phase.microbatch),
        ("train.sequence", phase.sequence),
        ("model.n_layers", spec.model.n_layers),
        ("model.moe.n_experts", spec.model.moe.n_experts),
    ] {
        if value == 0 {
            return Err(PlanError::Zero { field });
        }
    }
    let n_ranks = [data, context, tensor].iter().try_fold(pipeline, |n, &axis| n.checked_mul(axis));
    if n_ranks.is_none_or(|n| n > MOST_RANKS) {
        return Err(PlanError::TooManyRanks { pipeline, data, context, tensor, most: MOST_RANKS });
    }
    let (expert, n_experts, n_layers) = (parallel.expert, spec.model.moe.n_experts, spec.model.n_layers);
    if !(data * context).is_multiple_of(expert) {
        return Err(PlanError::ExpertsDoNotDivide { expert, data, context });
    }
    if !n_experts.is_multiple_of(expert) {
        return Err(PlanError::ExpertsLeftOver { expert, n_experts });
    }
    if let Some(gpus_per_node) = spec.cluster.gpus_per_node.filter(|_| !fits_nodes(spec)) {
        return Err(PlanError::NodesDoNotDivide { gpus_per_node, expert, tensor });
    }
    if let PlacementPolicy::Eplb { redundant, .. } = spec.balance.placement
        && !redundant.is_multiple_of(expert)
    {
        return Err(PlanError::SlotsLeftOver { n_experts, redundant, expert });
    }
    if !phase.sequence.is_multiple_of(context) {
        return Err(PlanError::SequenceDoesNotDivide { sequence: phase.sequence, context });
    }
    let (batch, microbatch) = (phase.batch, phase.microbatch);
    let n_microbatches = data
        .checked_mul(microbatch)
        .filter(|&n| batch.is_multiple_of(n))
        .map(|n| batch / n)
        .filter(|&n| n > 0)
        .ok_or(PlanError::BatchDoesNotDivide { batch, data, microbatch })?;
    fits_virtual(parallel.schedule, parallel.virtual_stages)?;
    let schedule = Schedule::new(parallel.schedule, pipeline, parallel.virtual_stages, n_microbatches)?;
    let n_stages = schedule.placement.n_stages();
    if n_stages > n_layers {
        return Err(PlanError::TooFewLayers { n_stages, n_layers });
    }
    Ok(schedule)
}
