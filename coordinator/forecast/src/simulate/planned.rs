//! A plan as the simulator sees it: who does what where, and how tokens go to experts.

use ds_arch::GroupLimit;
use ds_plan::JobPlan;
use ds_plan::schedule::{Action, Placement};
use ds_topology::EndpointId;
use ds_topology::traffic::moe::{Forwarding, Gate, GateError, Mode, Popularity, SkewError};

use super::job::{Closing, Moe, StepJob};
use crate::StageWork;

/// How popular experts are.
#[derive(Clone, Debug, PartialEq)]
pub enum Skew {
    /// All alike.
    Uniform,
    /// By Zipf's law with this exponent; each layer has other favourites.
    Zipf(f64),
    /// Layer, and the tokens that each of its experts got.
    Recorded(Vec<(u32, Vec<u64>)>),
}

/// A plan that cannot be simulated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlannedError {
    /// The gate makes no sense.
    #[error("model.moe: {0}")]
    Gate(#[from] GateError),
    /// The loads are of another model.
    #[error("{0}")]
    Skew(#[from] SkewError),
    /// A layer without experts.
    #[error("loads of layer {layer}: it is not a layer with experts, which the model has from {first} to {last}")]
    NoExperts {
        /// In the file.
        layer: u32,
        /// The first layer with experts.
        first: u32,
        /// The last one.
        last: u32,
    },
}

/// A plan as the simulator sees it.
#[derive(Clone, Debug)]
pub struct PlannedStep {
    actions: Vec<Vec<Action>>,
    placement: Placement,
    stages: Vec<StageWork>,
    per_pipeline: u32,
    tensor: u32,
    expert: u32,
    seats: Vec<EndpointId>,
    moe: Option<Moe>,
    closing: Vec<Closing>,
}

impl PlannedStep {
    /// Ranks sit on endpoints in order; where a job shares devices and there are fewer of them, neighbours share.
    ///
    /// # Errors
    /// When the model's gate, or the loads, make no sense.
    pub fn new(
        plan: &JobPlan,
        stages: Vec<StageWork>,
        closing: Vec<Closing>,
        skew: &Skew,
        n_endpoints: u32,
    ) -> Result<Self, PlannedError> {
        let (grid, spec) = (plan.grid(), plan.spec());
        let n_ranks = grid.n_ranks();
        let seat = |rank: u32| {
            let shares = spec.cluster.share_devices && n_ranks > n_endpoints;
            let seat = if shares { u64::from(rank) * u64::from(n_endpoints) / u64::from(n_ranks) } else { rank.into() };
            EndpointId(seat as u32)
        };
        Ok(Self {
            actions: (0..grid.n_pipeline()).map(|at| plan.actions(at).to_vec()).collect(),
            placement: plan.placement(),
            stages,
            per_pipeline: n_ranks / grid.n_pipeline(),
            tensor: grid.n_tensor(),
            expert: grid.n_expert(),
            seats: (0..n_ranks).map(seat).collect(),
            moe: moe(plan, skew)?,
            closing,
        })
    }

    /// Calls `play` with the step.
    pub fn with<T>(&self, play: impl FnOnce(&StepJob<'_>) -> T) -> T {
        play(&StepJob {
            actions: &self.actions,
            holder: &|stage, microbatch| self.placement.holder(stage, microbatch),
            stages: &self.stages,
            per_pipeline: self.per_pipeline,
            tensor: self.tensor,
            expert_ranks: self.expert,
            seats: &self.seats,
            moe: self.moe.clone(),
            closing: &self.closing,
        })
    }
}

fn moe(plan: &JobPlan, skew: &Skew) -> Result<Option<Moe>, PlannedError> {
    let spec = plan.spec();
    let (model, phase) = (&spec.model, &spec.train[0]);
    let layers: Vec<u32> = model.moe_layers().map(|layer| layer.0).collect();
    let (Some(&first), Some(&last)) = (layers.first(), layers.last()) else { return Ok(None) };
    let (n_groups, picked) = match model.moe.groups {
        GroupLimit::AnyGroup => (1, 1),
        GroupLimit::AtMost { n_groups, picked } => (n_groups, picked),
    };
    let gate = Gate::new(model.moe.n_experts, model.moe.top_k, n_groups, picked)?;
    let n = model.moe.n_experts;
    let mut popularity = vec![Popularity::uniform(); last as usize + 1];
    match skew {
        Skew::Uniform => (),
        Skew::Zipf(exponent) => {
            for &layer in &layers {
                let seed = spec.seed.wrapping_add(u64::from(layer));
                popularity[layer as usize] = Popularity::zipf(n, *exponent, seed);
            }
        }
        Skew::Recorded(loads) => {
            for (layer, tokens) in loads {
                if !layers.contains(layer) {
                    return Err(PlannedError::NoExperts { layer: *layer, first, last });
                }
                popularity[*layer as usize] = Popularity::recorded(*layer, n, tokens)?;
            }
        }
    }
    let tokens = f64::from(phase.microbatch) * f64::from(phase.sequence) / f64::from(plan.grid().n_context());
    let mode = Mode::Deduplicated(Forwarding::CutThrough);
    Ok(Some(Moe { gate, mode, tokens, popularity, seed: spec.seed }))
}
