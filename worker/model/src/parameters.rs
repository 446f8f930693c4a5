//! What a stage stores: real tensors behind logical parameters. Several logical ones may stand in one tensor: the gate
//! and up projections of a feed-forward network, and all experts of a layer.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;

use ds_arch::{LayerId, ModelConfig, Parameter, Place};
use tch::{Device, Kind, Tensor, no_grad};

use crate::Precision;
use crate::init::initial;
use crate::tape::Leaf;

/// The part of the model that one rank holds of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagePart {
    /// Whether it embeds tokens at its input.
    pub embeds: bool,
    /// Main decoder layers.
    pub layers: Range<u32>,
    /// Whether it has the final norm and the head.
    pub scores: bool,
    /// MTP modules, as layers after the main ones; only where it scores.
    pub mtp_layers: Range<u32>,
    /// Experts of every MoE layer.
    pub experts: Range<u32>,
}

impl StagePart {
    /// The whole model.
    pub fn whole(config: &ModelConfig) -> Self {
        Self {
            embeds: true,
            layers: 0..config.n_layers,
            scores: true,
            mtp_layers: config.n_layers..config.n_layers + config.mtp.depth,
            experts: 0..config.moe.n_experts,
        }
    }

    fn holds(&self, parameter: &Parameter) -> bool {
        let place = match parameter.place {
            Place::Embedding => self.embeds || !self.mtp_layers.is_empty(),
            Place::FinalNorm | Place::Head => self.scores,
            Place::Layer(LayerId(layer)) => self.layers.contains(&layer) || self.mtp_layers.contains(&layer),
        };
        place && parameter.expert.is_none_or(|expert| self.experts.contains(&expert.0))
    }
}

/// A logical parameter inside a stored one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logical {
    /// As checkpoints know it.
    pub name: String,
    /// Its row of the stored tensor's first dimension; none if it is the whole tensor.
    pub index: Option<i64>,
}

/// A tensor and the logical parameters in it.
#[derive(Debug)]
pub struct StoredParameter {
    /// Requires gradients; in the format of computation.
    pub tensor: Tensor,
    /// In the order of their rows.
    pub logical: Vec<Logical>,
    /// Whether weight decay applies.
    pub decays: bool,
    /// Whether it holds routed experts, whose gradients are summed over replicas only.
    pub is_expert: bool,
}

/// Logical parameters of one stored tensor, with their rows.
type Members = Vec<(Parameter, Option<i64>)>;

/// A stage's parameters by name.
pub(crate) struct Store {
    stored: Vec<StoredParameter>,
    places: HashMap<String, usize>,
}

impl Store {
    /// Of everything that any of the parts holds; all of them have the same experts.
    pub(crate) fn new(
        config: &ModelConfig,
        parts: &[StagePart],
        device: Device,
        precision: Precision,
        seed: u64,
    ) -> Self {
        let mut stacks: Vec<(String, Members)> = Vec::new();
        let is_held = |p: &Parameter| parts.iter().any(|part| part.holds(p));
        for parameter in ds_arch::parameters(config).into_iter().filter(is_held) {
            let (name, row) = stack_of(&parameter, parts[0].experts.start);
            match stacks.iter_mut().rev().find(|(stack, _)| *stack == name) {
                Some((_, members)) => members.push((parameter, row)),
                None => stacks.push((name, vec![(parameter, row)])),
            }
        }
        let mut store = Self { stored: Vec::new(), places: HashMap::new() };
        for (name, mut members) in stacks {
            members.sort_by_key(|(_, row)| *row);
            let value = |(p, _): &(Parameter, _)| initial(p, seed, precision.of_weight(&p.name), device);
            let values: Vec<Tensor> = members.iter().map(value).collect();
            let tensor = if members[0].1.is_some() { Tensor::stack(&values, 0) } else { values[0].shallow_clone() };
            store.places.insert(name, store.stored.len());
            store.stored.push(StoredParameter {
                tensor: tensor.set_requires_grad(true),
                decays: members[0].0.decays,
                is_expert: members[0].0.expert.is_some(),
                logical: members.into_iter().map(|(p, index)| Logical { name: p.name, index }).collect(),
            });
        }
        store
    }

    /// The experts of the MoE layer of that name prefix are others from now on: the rank's i-th is `experts[i]`.
    pub(crate) fn rename_experts(&mut self, base: &str, experts: &[u32]) {
        for (stack, rows) in [("gate_up", 2), ("down", 1)] {
            let index = self.places[&format!("{base}.{stack}")];
            for (row, logical) in self.stored[index].logical.iter_mut().enumerate() {
                let projection = logical.name.rsplit_once('.').and_then(|(rest, _)| rest.rsplit_once('.'));
                let (_, projection) = projection.expect("an expert's weight is named PREFIX.EXPERT.PROJECTION.weight");
                logical.name = format!("{base}.{}.{projection}.weight", experts[row / rows]);
            }
        }
    }

    pub(crate) fn stored(&self) -> &[StoredParameter] {
        &self.stored
    }

    /// Where a stored tensor stands.
    pub(crate) fn place(&self, name: &str) -> usize {
        self.places[name]
    }

    /// A stored tensor as a leaf of a phase.
    pub(crate) fn leaf(&self, name: &str) -> Leaf {
        let index = self.places[name];
        Leaf { tensor: self.stored[index].tensor.shallow_clone(), gradient: (index, None) }
    }

    /// Rows of a stored tensor as a leaf of a phase, in the shape that the phase wants.
    pub(crate) fn rows(&self, name: &str, rows: Range<i64>, shape: &[i64]) -> Leaf {
        let index = self.places[name];
        let tensor = self.stored[index].tensor.detach().narrow(0, rows.start, rows.end - rows.start).view(shape);
        Leaf { tensor: tensor.set_requires_grad(true), gradient: (index, Some((rows.start, rows.end - rows.start))) }
    }
}

/// The stack that a parameter stands in, and its row there. Gate and up projection are neighbours, so that one product
/// computes both.
fn stack_of(parameter: &Parameter, first_expert: u32) -> (String, Option<i64>) {
    let Some((base, projection)) = parameter.name.strip_suffix("_proj.weight").and_then(|n| n.rsplit_once('.')) else {
        return (parameter.name.clone(), None);
    };
    let local = parameter.expert.map(|expert| i64::from(expert.0 - first_expert));
    let base = if local.is_some() { base.rsplit_once('.').map_or(base, |(experts, _)| experts) } else { base };
    match (projection, local) {
        ("gate", _) => (format!("{base}.gate_up"), Some(2 * local.unwrap_or(0))),
        ("up", _) => (format!("{base}.gate_up"), Some(2 * local.unwrap_or(0) + 1)),
        ("down", Some(local)) => (format!("{base}.down"), Some(local)),
        _ => (parameter.name.clone(), None),
    }
}

/// Gradients of a stage's parameters, summed over microbatches in FP32 (FP64 where the model computes in it).
pub struct Gradients {
    tensors: Vec<Tensor>,
    /// Whether a tensor is to count as zeros: what comes first is copied to it, which saves two passes over the weights a
    /// step.
    are_stale: Vec<Cell<bool>>,
}

impl Gradients {
    /// Zeros in the shapes of `parameters`.
    pub(crate) fn of(parameters: &[StoredParameter]) -> Self {
        let zeros = |p: &StoredParameter| {
            let kind = if p.tensor.kind() == Kind::Double { Kind::Double } else { Kind::Float };
            Tensor::zeros(p.tensor.size(), (kind, p.tensor.device()))
        };
        let are_stale = parameters.iter().map(|_| Cell::new(false)).collect();
        Self { tensors: parameters.iter().map(zeros).collect(), are_stale }
    }

    /// Zeros of the shapes of a model's parameters.
    pub fn zeros(model: &crate::StageModel) -> Self {
        Self::of(model.parameters())
    }

    /// Before a step.
    pub fn zero(&mut self) {
        self.are_stale.iter().for_each(|stale| stale.set(true));
    }

    /// Aligned with the model's parameters.
    pub fn tensors(&self) -> &[Tensor] {
        (0..self.tensors.len()).for_each(|index| self.settle(index));
        &self.tensors
    }

    /// The gradient of one parameter, to be added to.
    pub(crate) fn sum(&self, index: usize) -> &Tensor {
        self.settle(index);
        &self.tensors[index]
    }

    /// Some of its elements in a row, in this shape.
    pub(crate) fn elements(&self, index: usize, first: i64, shape: &[i64]) -> Tensor {
        self.sum(index).view([-1]).narrow(0, first, shape.iter().product()).view(shape)
    }

    /// The gradient of one parameter, for whom writes it where it is stale, which is the second result.
    pub(crate) fn taken_over(&self, index: usize) -> (&Tensor, bool) {
        (&self.tensors[index], self.are_stale[index].replace(false))
    }

    /// Zeros where they are meant.
    fn settle(&self, index: usize) {
        if self.are_stale[index].replace(false) {
            no_grad(|| drop(self.tensors[index].shallow_clone().zero_()));
        }
    }

    /// Adds to a parameter's gradient, or to some of its rows (first, number).
    pub(crate) fn add(&mut self, (index, rows): (usize, Option<(i64, i64)>), gradient: &Tensor) {
        no_grad(|| {
            if rows.is_none() && self.are_stale[index].replace(false) {
                self.tensors[index].copy_(gradient);
                return;
            }
            let whole = self.sum(index).shallow_clone();
            let mut target = match rows {
                Some((first, n)) => whole.narrow(0, first, n).view_as(gradient),
                None => whole,
            };
            let _ = target.g_add_(gradient);
        });
    }
}
