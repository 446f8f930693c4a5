//! A plan as the simulator sees it: who does what where, and how tokens go to experts.

use std::collections::BTreeMap;

use ds_arch::{ExpertId, GroupLimit};
use ds_plan::expert_placement::eplb;
use ds_plan::schedule::{Action, Placement};
use ds_plan::spec::ComputeType;
use ds_plan::{Coordinates, JobPlan};
use ds_topology::EndpointId;
use ds_topology::traffic::moe::{Demand, ExpertGroup, Forwarding, Gate, GateError, Mode, Popularity, SkewError};

use super::job::{Closing, Copies, Moe, StepJob};
use crate::StageWork;
use crate::estimate::{Term, Terms, busiest, stage_work};
use crate::hardware::Hardware;

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
    copies: Vec<Copies>,
    left_beside_exchange: f64,
    stretch_beside_compute: f64,
}

impl PlannedStep {
    /// Ranks sit on endpoints in order; where a job shares devices and there are fewer of them, neighbours share.
    ///
    /// # Errors
    /// When the model's gate, or the loads, make no sense.
    pub fn new(plan: &JobPlan, hardware: &Hardware, skew: &Skew, n_endpoints: u32) -> Result<Self, PlannedError> {
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
            stages: stage_work(plan, hardware),
            per_pipeline: n_ranks / grid.n_pipeline(),
            tensor: grid.n_tensor(),
            expert: grid.n_expert(),
            seats: (0..n_ranks).map(seat).collect(),
            moe: moe(plan, skew, hardware.exchange_seconds)?,
            closing: closing(plan, hardware),
            copies: copies(plan),
            // A CPU has fewer cores than a GPU gives to exchange; there, nothing is taken away.
            left_beside_exchange: match hardware.exchange_multiprocessors / hardware.n_multiprocessors {
                taken if taken < 1.0 => 1.0 - taken,
                _ => 1.0,
            },
            stretch_beside_compute: hardware.exchange_contention.max(1.0),
        })
    }

    /// Where each rank computes.
    pub fn seats(&self) -> &[EndpointId] {
        &self.seats
    }

    /// Without the causes that are left out.
    ///
    /// # Errors
    /// The cause that cannot be left out of what is played.
    pub fn with_terms(mut self, terms: Terms) -> Result<Self, Term> {
        let left_out = |term: Term| !terms.has(term);
        for term in Term::ALL.into_iter().filter(|&term| left_out(term)) {
            match term {
                Term::Contention => (self.left_beside_exchange, self.stretch_beside_compute) = (1.0, 1.0),
                Term::Copies => self.copies.clear(),
                Term::Sends => self.stages.iter_mut().for_each(|stage| stage.boundary_bytes = 0.0),
                Term::Skew => self.moe.iter_mut().for_each(|moe| moe.busiest = 1.0),
                Term::Fill | Term::Imbalance | Term::FirstDispatch => return Err(term),
            }
        }
        Ok(self)
    }

    /// Calls `play` with the step.
    pub fn with<T>(&self, play: impl FnOnce(&StepJob<'_>) -> T) -> T {
        play(&StepJob {
            actions: &self.actions,
            placement: self.placement,
            stages: &self.stages,
            per_pipeline: self.per_pipeline,
            tensor: self.tensor,
            expert_ranks: self.expert,
            seats: &self.seats,
            moe: self.moe.clone(),
            left_beside_exchange: self.left_beside_exchange,
            stretch_beside_compute: self.stretch_beside_compute,
            closing: &self.closing,
            copies: &self.copies,
        })
    }
}

fn moe(plan: &JobPlan, skew: &Skew, overhead_seconds: f64) -> Result<Option<Moe>, PlannedError> {
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
    let placements = placements(plan, &gate, &popularity);
    let tokens = f64::from(phase.microbatch) * f64::from(phase.sequence) / f64::from(plan.grid().n_context());
    let mode = Mode::Deduplicated(Forwarding::CutThrough);
    let busiest = busiest(tokens * f64::from(model.moe.top_k), plan.grid().n_expert());
    Ok(Some(Moe { gate, mode, tokens, overhead_seconds, busiest, popularity, placements, seed: spec.seed }))
}

/// Tokens that are drawn to judge the loads of experts.
const DRAWN: u32 = 8192;

/// Where experts lie when they have moved to where their loads ask for, layer by layer; nowhere else than in equal runs
/// where the job leaves them, or all are alike.
fn placements(plan: &JobPlan, gate: &Gate, popularity: &[Popularity]) -> Vec<Option<Vec<Vec<usize>>>> {
    if plan.rebalance().is_none() {
        return Vec::new();
    }
    // Each expert on a rank of its own: what that gets is the expert's load.
    let alone: Vec<EndpointId> = (0..gate.n_experts()).map(EndpointId).collect();
    let alone = ExpertGroup::new(&alone, 1);
    let placement = |(layer, of): (u64, &Popularity)| {
        if of.is_uniform() {
            return None;
        }
        let seed = !plan.spec().seed.wrapping_add(layer);
        let demand = Demand::estimated(gate, &alone, of, 1.0, DRAWN, seed);
        let loads: Vec<f64> = (0..alone.len()).map(|expert| demand.load(expert)).collect();
        let placed = eplb(&loads, plan.expert_slots());
        let ranks =
            |expert| placed.replicas_of(ExpertId(expert)).iter().map(|&slot| placed.gpu(slot) as usize).collect();
        Some((0..gate.n_experts()).map(ranks).collect())
    };
    (0..).zip(popularity).map(placement).collect()
}

/// Bytes of an update of one parameter: the gradient is read for its norm, cleared, and read for the update (12); FP32
/// weight and two moments are read and written (24); the 16-bit weight is written (2).
const UPDATE_BYTES: f64 = 38.0;

/// What ends a step of a plan, per pipeline coordinate. Where ranks divide the optimizer's state, each updates its
/// share and 16-bit weights are gathered; otherwise summed gradients are, and each updates all.
pub fn closing(plan: &JobPlan, hardware: &Hardware) -> Vec<Closing> {
    let (grid, spec) = (plan.grid(), plan.spec());
    let divides = spec.parallel.zero > 0;
    let gradient = gradient_bytes(plan);
    let gathered = if divides { 2.0 } else { gradient };
    let at = |pipeline| {
        let rank = grid.rank_at(Coordinates { pipeline, data: 0, context: 0, tensor: 0 });
        let (mut dense, mut experts) = (0.0, 0.0);
        for parameter in plan.parameters_of(rank) {
            let held = if parameter.expert.is_some() { &mut experts } else { &mut dense };
            *held += parameter.n_elements() as f64;
        }
        dense /= f64::from(grid.n_tensor());
        let (by_data, by_replicas) = if divides { (grid.n_samplers(), grid.n_replicas()) } else { (1, 1) };
        let updated = dense / f64::from(by_data) + experts / f64::from(by_replicas);
        Closing {
            dense_gradient_bytes: gradient * dense,
            expert_gradient_bytes: gradient * experts,
            dense_weight_bytes: gathered * dense,
            expert_weight_bytes: gathered * experts,
            optimizer_seconds: updated * UPDATE_BYTES / (hardware.memory_bandwidth * hardware.memory_efficiency),
        }
    };
    (0..grid.n_pipeline()).map(at).collect()
}

/// Bytes of an element of a gradient.
fn gradient_bytes(plan: &JobPlan) -> f64 {
    if plan.spec().precision.compute == ComputeType::F64 { 8.0 } else { 4.0 }
}

/// What several coordinates of a plan hold, by which they are: all that a coordinate holds under DualPipe, the embedding
/// that prediction shares.
fn copies(plan: &JobPlan) -> Vec<Copies> {
    let grid = plan.grid();
    let mut elements: BTreeMap<Vec<u32>, f64> = BTreeMap::new();
    for pipeline in 0..grid.n_pipeline() {
        let rank = grid.rank_at(Coordinates { pipeline, data: 0, context: 0, tensor: 0 });
        for parameter in plan.parameters_of(rank) {
            let pipelines = plan.holders(parameter.place);
            if pipelines.len() > 1 && pipelines[0] == pipeline {
                let parts =
                    if parameter.expert.is_some() { grid.n_replicas() } else { grid.n_samplers() * grid.n_tensor() };
                *elements.entry(pipelines).or_default() += parameter.n_elements() as f64 / f64::from(parts);
            }
        }
    }
    let bytes = gradient_bytes(plan);
    elements.into_iter().map(|(pipelines, n)| Copies { pipelines, bytes: bytes * n }).collect()
}
