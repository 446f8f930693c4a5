//! What is to be played.

use ds_plan::schedule::{Action, Placement};
use ds_topology::EndpointId;
use ds_topology::traffic::moe::{Gate, Mode, Popularity};

use super::error::SimulateError;
use super::event::{Epoch, Straggler};
use crate::StageWork;

/// A job as the simulator sees it. Ranks are counted coordinate after coordinate: rank = coordinate · `per_pipeline`
/// + place.
pub struct StepJob<'a> {
    /// Per pipeline coordinate, what its ranks do in a step, in order.
    pub actions: &'a [Vec<Action>],
    /// Who holds which stage.
    pub placement: Placement,
    /// Per stage, in the order of the model.
    pub stages: &'a [StageWork],
    /// Ranks of a pipeline coordinate.
    pub per_pipeline: u32,
    /// Ranks that share a matrix: a rank's place is that among the ranks that see different tokens, times this, and
    /// then its own among those that share.
    pub tensor: u32,
    /// Ranks that the experts of a layer are spread over, of those that see different tokens.
    pub expert_ranks: u32,
    /// Where each rank computes.
    pub seats: &'a [EndpointId],
    /// The experts; none for a dense model.
    pub moe: Option<Moe>,
    /// The share of a device that is left for computations while an exchange runs beside them; 1 for all of it.
    pub left_beside_exchange: f64,
    /// How many times as long an exchange holds its multiprocessors beside computations as alone; at least 1.
    pub stretch_beside_compute: f64,
    /// Per pipeline coordinate: what ends a step.
    pub closing: &'a [Closing],
    /// What several pipeline coordinates hold.
    pub copies: &'a [Copies],
}

/// How tokens go to experts.
#[derive(Clone, Debug)]
pub struct Moe {
    /// How a token chooses.
    pub gate: Gate,
    /// How rows travel; forwarding is chunk by chunk, whatever it says.
    pub mode: Mode,
    /// Tokens of a microbatch on one rank.
    pub tokens: f64,
    /// Seconds of an exchange before its first byte: ranks tell each other the counts.
    pub overhead_seconds: f64,
    /// How many times the mean the busiest rank gets where experts are alike: tokens choose by chance. 1 for none.
    pub busiest: f64,
    /// How popular experts are, by layer; layers beyond the last are alike.
    pub popularity: Vec<Popularity>,
    /// By layer: the places of an expert group that hold a replica of each expert; equal runs beyond the last, and where
    /// there is none.
    pub placements: Vec<Option<Vec<Vec<usize>>>>,
    /// For what must be drawn.
    pub seed: u64,
}

impl Moe {
    /// Which popularity a layer has, among the distinct ones: layers where all experts are alike share theirs.
    pub(super) fn skew_of(&self, layer: u32) -> Option<&Popularity> {
        self.popularity.get(layer as usize).filter(|popularity| !popularity.is_uniform())
    }
}

/// What ends a step on the ranks of a pipeline coordinate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Closing {
    /// Bytes of a rank's dense gradients.
    pub dense_gradient_bytes: f64,
    /// Bytes of the gradients of a rank's experts.
    pub expert_gradient_bytes: f64,
    /// Bytes of a rank's dense weights, gathered after the optimizer.
    pub dense_weight_bytes: f64,
    /// Bytes of the weights of a rank's experts, gathered after the optimizer.
    pub expert_weight_bytes: f64,
    /// The optimizer's, with nothing beside it.
    pub optimizer_seconds: f64,
}

/// Parameters with a copy on each of several pipeline coordinates, as under DualPipe, which holds every stage twice
/// (arXiv 2412.19437, §3.2.1). When each has summed its own gradients and a rank has its share of the sum, ranks of the
/// same place give each other theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct Copies {
    /// The coordinates, ascending; at least two.
    pub pipelines: Vec<u32>,
    /// Of a rank's share of their gradients.
    pub bytes: f64,
}

/// What else is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Steps in a row.
    pub steps: u32,
    /// Standard deviation of a computation's time, as a share of it.
    pub jitter: f64,
    /// For the jitter.
    pub seed: u64,
    /// Ranks that compute more slowly than others.
    pub stragglers: Vec<Straggler>,
    /// Whether what fares alike is played once.
    pub reuse: bool,
    /// Whether messages are recorded, for traces.
    pub record: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 1, jitter: 0.0, seed: 0, stragglers: Vec::new(), reuse: true, record: false }
    }
}

impl StepJob<'_> {
    pub(super) fn n_ranks(&self) -> usize {
        self.actions.len() * self.per_pipeline as usize
    }

    /// Ranks of a coordinate that see different tokens.
    fn n_samplers(&self) -> u32 {
        self.per_pipeline / self.tensor
    }

    fn rank(&self, at: u32, sampler: u32, tensor: u32) -> u32 {
        at * self.per_pipeline + sampler * self.tensor + tensor
    }

    /// Groups of a coordinate whose samplers `of(group)` gives, for every tensor rank.
    fn groups<I: Iterator<Item = u32>>(&self, at: u32, n: u32, of: impl Fn(u32) -> I) -> Vec<Vec<u32>> {
        let group = |t: u32, group: u32| of(group).map(|sampler| self.rank(at, sampler, t)).collect::<Vec<u32>>();
        (0..self.tensor).flat_map(|t| (0..n).map(move |g| (t, g))).map(|(t, g)| group(t, g)).collect()
    }

    /// The ranks that the experts of a layer are spread over.
    pub(super) fn expert_groups(&self, at: u32) -> Vec<Vec<u32>> {
        let n = self.expert_ranks;
        self.groups(at, self.n_samplers() / n, |replica| replica * n..(replica + 1) * n)
    }

    /// The ranks that hold the same dense weights.
    pub(super) fn data_groups(&self, at: u32) -> Vec<Vec<u32>> {
        self.groups(at, 1, |_| 0..self.n_samplers())
    }

    /// The ranks that hold the same experts.
    pub(super) fn replica_groups(&self, at: u32) -> Vec<Vec<u32>> {
        let n = self.expert_ranks.max(1);
        self.groups(at, n, |index| (index..self.n_samplers()).step_by(n as usize))
    }

    /// A rank's place in its expert group.
    pub(super) fn expert_place(&self, rank: u32) -> u32 {
        rank % self.per_pipeline / self.tensor % self.expert_ranks.max(1)
    }

    pub(super) fn check(&self, epochs: &[Epoch<'_>], options: &Options) -> Result<(), SimulateError> {
        let counts = [
            ("epochs", epochs.len().min(1), 1),
            ("seats", self.seats.len(), self.n_ranks()),
            ("closings", self.closing.len(), self.actions.len()),
        ];
        for (what, found, expected) in counts {
            if found != expected {
                return Err(SimulateError::Count { what, found, expected });
            }
        }
        let endpoints = epochs[0].routes.n_endpoints();
        if self.seats.iter().any(|seat| seat.0 >= endpoints) {
            return Err(SimulateError::TooFewEndpoints { ranks: self.n_ranks(), endpoints });
        }
        if self.tensor == 0 || !self.per_pipeline.is_multiple_of(self.tensor) {
            let (found, expected) = (self.tensor as usize, self.per_pipeline as usize);
            return Err(SimulateError::Count { what: "tensor ranks of a coordinate", found, expected });
        }
        if let Some(moe) = &self.moe
            && (self.expert_ranks == 0
                || !self.n_samplers().is_multiple_of(self.expert_ranks)
                || !moe.gate.n_experts().is_multiple_of(self.expert_ranks))
        {
            return Err(SimulateError::Experts { ranks: self.expert_ranks as usize, experts: moe.gate.n_experts() });
        }
        if !(options.jitter >= 0.0 && options.jitter < 1.0) {
            let rule = "at least 0 and less than 1";
            return Err(SimulateError::Number { what: "jitter", value: options.jitter, rule });
        }
        if !(self.left_beside_exchange > 0.0 && self.left_beside_exchange <= 1.0) {
            let (what, value) = ("the share that is left beside an exchange", self.left_beside_exchange);
            return Err(SimulateError::Number { what, value, rule: "greater than 0 and at most 1" });
        }
        if !(self.stretch_beside_compute.is_finite() && self.stretch_beside_compute >= 1.0) {
            let (what, value) = ("the stretch of an exchange beside computations", self.stretch_beside_compute);
            return Err(SimulateError::Number { what, value, rule: "finite and at least 1" });
        }
        for straggler in &options.stragglers {
            if straggler.rank as usize >= self.n_ranks() {
                return Err(SimulateError::NoSuchRank { rank: straggler.rank, last: self.n_ranks() as u32 - 1 });
            }
            if !(straggler.factor.is_finite() && straggler.factor > 0.0) {
                let rule = "finite and greater than 0";
                return Err(SimulateError::Number { what: "a straggler's factor", value: straggler.factor, rule });
            }
        }
        Ok(())
    }
}
