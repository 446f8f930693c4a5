//! Why a layout is out: the constraint that binds it, with both numbers.

use ds_plan::spec::ScheduleKind;
use ds_plan::{MemoryEstimate, PlanError, bytes};

use super::layout::Layout;
use super::space::Space;
use crate::memory::largest_term;

/// Why a layout is out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// Some GPUs would have nothing to do.
    #[error("{n_gpus} GPUs are no multiple of pipeline x tensor x context = {each}")]
    GpusLeftOver {
        /// There are.
        n_gpus: u32,
        /// The axes but data.
        each: u32,
    },
    /// Tensor ranks divide heads.
    #[error("parallel.tensor {tensor} must divide model.attention.n_heads {n_heads}")]
    Heads {
        /// Axis.
        tensor: u32,
        /// Of attention.
        n_heads: u32,
    },
    /// It has no plan.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// Weights, gradients and moments alone do not fit.
    #[error(
        "a rank's share of the state alone needs {} (weights {} + master {} + gradients {} + moments {}), a GPU has {}",
        bytes(.need.iter().sum()), bytes(.need[0]), bytes(.need[1]), bytes(.need[2]), bytes(.need[3]), bytes(*.have)
    )]
    State {
        /// Of weights, master weights, gradients and moments, in the mean over pipeline coordinates: the largest rank
        /// needs no less.
        need: [u64; 4],
        /// Of a GPU.
        have: u64,
    },
    /// It does not fit.
    #[error(
        "pipeline {pipeline} needs {memory}, a GPU has {}: {} too much, most of it {}",
        bytes(*.have), bytes(.memory.total() - .have), largest_term(.memory).0
    )]
    Memory {
        /// The coordinate of the largest rank.
        pipeline: u32,
        /// What it needs.
        memory: MemoryEstimate,
        /// Of a GPU.
        have: u64,
    },
    /// No machine is known that runs it.
    #[error("{0}")]
    NoForecast(String),
}

impl Reason {
    /// The rule, without its numbers.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::GpusLeftOver { .. } => "GPUs left over",
            Self::Heads { .. } => "tensor must divide heads",
            Self::Plan(PlanError::ExpertsDoNotDivide { .. }) => "expert must divide data x context",
            Self::Plan(PlanError::ExpertsLeftOver { .. }) => "expert must divide experts",
            Self::Plan(PlanError::BatchDoesNotDivide { .. }) => "batch must be a multiple of data x microbatch",
            Self::Plan(PlanError::SequenceDoesNotDivide { .. }) => "context must divide the sequence",
            Self::Plan(PlanError::TooFewLayers { .. }) => "more stages than layers",
            Self::Plan(PlanError::Schedule(_)) => "microbatches do not suit the schedule",
            Self::Plan(_) => "no plan",
            Self::State { .. } => "memory: state alone",
            Self::Memory { memory, .. } => match largest_term(memory).0 {
                "activations" => "memory: mostly activations",
                "exchange" => "memory: mostly exchange buffers",
                _ => "memory: mostly state",
            },
            Self::NoForecast(_) => "no forecast",
        }
    }

    /// How far it is from fitting, in bytes; none when memory is not what binds.
    fn too_much(&self) -> Option<u64> {
        match self {
            Self::State { need, have } => Some(need.iter().sum::<u64>() - have),
            Self::Memory { memory, have, .. } => Some(memory.total() - have),
            _ => None,
        }
    }
}

/// Layouts that are out for the same kind of reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// The rule.
    pub kind: &'static str,
    /// How many.
    pub count: usize,
    /// One of them: where memory binds, the one that comes closest.
    pub example: Layout,
    /// Why that one is out.
    pub reason: Reason,
}

impl Rejected {
    pub(super) fn first(kind: &'static str, example: Layout, reason: Reason) -> Self {
        Self { kind, count: 1, example, reason }
    }

    pub(super) fn add(&mut self, layout: Layout, reason: &Reason) {
        self.count += 1;
        if let (Some(new), Some(old)) = (reason.too_much(), self.reason.too_much())
            && new < old
        {
            (self.example, self.reason) = (layout, reason.clone());
        }
    }
}

/// Refuses layouts whose state alone is too large, without making a plan: the mean over pipeline coordinates bounds the
/// largest from below.
pub(super) fn too_large_at_once(space: &Space, layout: Layout) -> Result<(), Reason> {
    let copies = if layout.schedule == ScheduleKind::DualPipe { 2 } else { 1 };
    let [pipeline, tensor, expert] = [layout.pipeline, layout.tensor, layout.expert].map(u64::from);
    let samplers = u64::from(layout.data) * u64::from(layout.context);
    let replicas = (samplers / expert).max(1);
    // Bytes of a kind of state, where ZeRO from that stage on divides it.
    let share = |each: u64, from: u32| {
        let by = |ranks: u64| if layout.zero >= from { ranks } else { 1 };
        let (dense, experts) = space.elements;
        copies * each * (dense / by(samplers) + experts / expert / by(replicas)) / tensor / pipeline
    };
    let [weight, master, gradient, moments] = space.state_bytes;
    let need = [share(weight, 3), share(master, 1), share(gradient, 2), share(moments, 1)];
    if need.iter().sum::<u64>() > space.memory_bytes {
        return Err(Reason::State { need, have: space.memory_bytes });
    }
    Ok(())
}
