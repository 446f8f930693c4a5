//! Jobs for tests.

use ds_arch::LayerId;
use ds_plan::schedule::{Action, Pass, Piece, Placement, StageId, one_f_one_b};
use ds_topology::EndpointId;
use ds_topology::traffic::moe::{Forwarding, Gate, Mode, Popularity};

use super::super::job::{Closing, Copies, Moe, StepJob};
use crate::{Exchange, Part, PassWork, StageWork};

/// A job that owns what a step is made of.
pub(super) struct Owned {
    pub(super) actions: Vec<Vec<Action>>,
    pub(super) stages: Vec<StageWork>,
    pub(super) per_pipeline: u32,
    pub(super) expert_ranks: u32,
    pub(super) seats: Vec<EndpointId>,
    pub(super) moe: Option<Moe>,
    pub(super) closing: Vec<Closing>,
    pub(super) copies: Vec<Copies>,
    /// What is left of a device beside an exchange, and how much longer that takes beside computations.
    pub(super) contention: (f64, f64),
}

fn compute(label: &'static str, milliseconds: f64) -> Part {
    Part::Compute { label, seconds: milliseconds * 1e-3, experts_of: None }
}

fn experts(layer: u32, milliseconds: f64) -> Part {
    Part::Compute { label: "experts", seconds: milliseconds * 1e-3, experts_of: Some(LayerId(layer)) }
}

fn exchange(layer: u32, exchange: Exchange, row_bytes: f64) -> Part {
    Part::Exchange { layer: LayerId(layer), exchange, row_bytes }
}

/// A stage of two layers of experts; stages differ a little.
fn stage(number: u32) -> StageWork {
    let longer = 1.0 + 0.03 * f64::from(number % 3);
    let layers = [2 * number, 2 * number + 1];
    let forward = layers.iter().flat_map(|&layer| {
        [
            compute("attention", 0.40 * longer),
            exchange(layer, Exchange::Dispatch, 7392.0),
            experts(layer, 0.30),
            exchange(layer, Exchange::Combine, 14_336.0),
        ]
    });
    let backward = layers.iter().rev().flat_map(|&layer| {
        [
            exchange(layer, Exchange::Dispatch, 7392.0),
            experts(layer, 0.33),
            exchange(layer, Exchange::Combine, 14_336.0),
            compute("attention", 0.71 * longer),
        ]
    });
    let weight = layers.iter().rev().flat_map(|&layer| [experts(layer, 0.29), compute("attention", 0.23)]);
    StageWork {
        forward: PassWork { parts: forward.collect() },
        backward_input: PassWork { parts: backward.collect() },
        backward_weight: PassWork { parts: weight.collect() },
        boundary_bytes: 256.0 * 14_336.0,
    }
}

impl Owned {
    /// One forward, one backward, on `pipeline` coordinates of `replicas` expert groups of `expert` ranks.
    pub(super) fn new(pipeline: u32, replicas: u32, expert: u32, microbatches: u32) -> Self {
        let per_pipeline = replicas * expert;
        let closing = Closing {
            dense_gradient_bytes: 64e6,
            expert_gradient_bytes: 32e6,
            dense_weight_bytes: 32e6,
            expert_weight_bytes: 16e6,
            optimizer_seconds: 1e-3,
        };
        let gate = Gate::new(8 * expert, 6, expert.min(8), expert.min(8).div_ceil(2)).expect("a gate");
        Self {
            actions: (0..pipeline).map(|at| one_f_one_b(StageId(at), pipeline, microbatches)).collect(),
            stages: (0..pipeline).map(stage).collect(),
            per_pipeline,
            expert_ranks: expert,
            seats: (0..pipeline * per_pipeline).map(EndpointId).collect(),
            moe: Some(Moe {
                gate,
                mode: Mode::Deduplicated(Forwarding::CutThrough),
                tokens: 256.0,
                overhead_seconds: 1e-5,
                busiest: 1.0,
                popularity: Vec::new(),
                placements: Vec::new(),
                seed: 3,
            }),
            closing: vec![closing; pipeline as usize],
            copies: Vec::new(),
            contention: (0.85, 1.5),
        }
    }

    /// Every backward beside a forward, where there is one to come.
    pub(super) fn overlapped(mut self) -> Self {
        for actions in &mut self.actions {
            let mut joined: Vec<Action> = Vec::new();
            for &action in actions.iter() {
                match (joined.last().copied(), action) {
                    (Some(Action::One(backward)), Action::One(forward))
                        if backward.pass == Pass::Backward && forward.pass == Pass::Forward =>
                    {
                        joined.pop();
                        joined.push(Action::Overlapped { forward, backward });
                    }
                    _ => joined.push(action),
                }
            }
            *actions = joined;
        }
        self
    }

    /// Weight gradients right after input gradients, as actions of their own.
    pub(super) fn split(mut self) -> Self {
        let halves = |&action: &Action| match action {
            Action::One(piece) if piece.pass == Pass::Backward => vec![
                Action::One(Piece { pass: Pass::BackwardInput, ..piece }),
                Action::One(Piece { pass: Pass::BackwardWeight, ..piece }),
            ],
            other => vec![other],
        };
        self.actions = self.actions.iter().map(|actions| actions.iter().flat_map(halves).collect()).collect();
        self
    }

    pub(super) fn skewed(mut self, exponent: f64) -> Self {
        let moe = self.moe.as_mut().expect("it has experts");
        let n = moe.gate.n_experts();
        let layers = 2 * self.stages.len() as u64;
        moe.popularity = (0..layers).map(|layer| Popularity::zipf(n, exponent, 100 + layer)).collect();
        self
    }

    /// Calls `play` with the job.
    pub(super) fn with<T>(&self, play: impl FnOnce(&StepJob<'_>) -> T) -> T {
        play(&StepJob {
            actions: &self.actions,
            placement: Placement::Straight { n_pipeline: self.actions.len() as u32 },
            stages: &self.stages,
            per_pipeline: self.per_pipeline,
            tensor: 1,
            expert_ranks: self.expert_ranks,
            seats: &self.seats,
            moe: self.moe.clone(),
            left_beside_exchange: self.contention.0,
            stretch_beside_compute: self.contention.1,
            closing: &self.closing,
            copies: &self.copies,
        })
    }
}
