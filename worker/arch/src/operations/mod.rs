//! What the network computes, as data: every operation of a place with its floating-point operations and the elements
//! that it moves, forward and backward. Planner, simulator and reports read the same table.
//!
//! Conventions. A multiplication and an addition are two operations. Attention counts the lower triangle only, the
//! diagonal included. An elementwise operation counts one for every arithmetic step or function on an element.
//! Elements moved are those of operands and results, each once, as if nothing stayed in a cache; bytes are elements
//! times the width of the format. Nothing is recomputed in backward.

mod attention;
mod feed_forward;
mod kinds;
mod whole;

use crate::{LayerId, ModelConfig, Place};

use kinds::Builder;

/// One operation of a place, in both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// As the parameters are named below their layer, for example `self_attn.q_a_proj`.
    pub name: &'static str,
    /// What sort of work it is.
    pub kind: OperationKind,
    /// Activations.
    pub forward: Cost,
    /// The gradient of its inputs.
    pub backward_input: Cost,
    /// The gradient of its weights.
    pub backward_weight: Cost,
}

/// What sort of work an operation is: these run at very different speeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// Activations times one weight.
    Matmul,
    /// Rows sorted by expert, each run times its expert's weight.
    GroupedMatmul,
    /// Activations times activations: scores, and values by scores.
    Attention,
    /// The same arithmetic on every element, norms and softmax included.
    Elementwise,
    /// Rows picked by index: embedding, dispatch, combine.
    Gather,
}

impl OperationKind {
    /// Whether published figures of FLOPs count it.
    pub fn is_matrix_work(self) -> bool {
        matches!(self, Self::Matmul | Self::GroupedMatmul | Self::Attention)
    }
}

/// What one direction of an operation costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: u64,
    /// Elements of its operands.
    pub elements_read: u64,
    /// Elements of its results.
    pub elements_written: u64,
}

impl Cost {
    /// Elements moved, to and fro.
    pub fn elements(self) -> u64 {
        self.elements_read + self.elements_written
    }
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            flops: self.flops + other.flops,
            elements_read: self.elements_read + other.elements_read,
            elements_written: self.elements_written + other.elements_written,
        }
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |a, b| a + b)
    }
}

impl Operation {
    /// Both gradients.
    pub fn backward(&self) -> Cost {
        self.backward_input + self.backward_weight
    }

    /// Forward and backward.
    pub fn total(&self) -> Cost {
        self.forward + self.backward()
    }
}

/// How much passes through a place at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Tokens of a microbatch; equally many arrive at this device's experts, times top-k.
    pub tokens: u64,
    /// Tokens of a sequence; the last one may be cut short.
    pub sequence: u64,
    /// Routed experts of a layer whose weights this device holds.
    pub n_experts_held: u64,
}

impl Load {
    /// On one device, which holds every expert.
    pub fn whole(config: &ModelConfig, tokens: u64, sequence: u64) -> Self {
        Self { tokens, sequence, n_experts_held: config.moe.n_experts.into() }
    }

    /// Pairs of a query and a key that it may see.
    pub fn causal_pairs(self) -> u64 {
        let triangle = |n: u64| n * (n + 1) / 2;
        self.tokens / self.sequence * triangle(self.sequence) + triangle(self.tokens % self.sequence)
    }
}

/// The operations of a place, in order. The head includes the loss; an MTP layer includes its pass through the shared
/// embedding and head, and its own loss.
pub fn operations(config: &ModelConfig, place: Place, load: Load) -> Vec<Operation> {
    let mut builder = Builder::new(config, load);
    match place {
        Place::Embedding => builder.embedding(),
        Place::Layer(LayerId(layer)) if layer >= config.n_layers => builder.mtp_module(LayerId(layer)),
        Place::Layer(layer) => builder.decoder_layer(layer),
        Place::FinalNorm => builder.norm("norm", config.hidden_size.into()),
        Place::Head => builder.head(),
    }
    builder.into_operations()
}

/// Every place of the model, in order.
pub fn places(config: &ModelConfig) -> Vec<Place> {
    let layers = |range: std::ops::Range<u32>| range.map(|layer| Place::Layer(LayerId(layer)));
    std::iter::once(Place::Embedding)
        .chain(layers(0..config.n_layers))
        .chain([Place::FinalNorm, Place::Head])
        .chain(layers(config.n_layers..config.n_layers + config.mtp.depth))
        .collect()
}

/// One AdamW update of so many parameters: elementwise, all in the format of the master weights.
pub fn optimizer_operation(n_parameters: u64) -> Operation {
    // Two moments (3 + 4), their corrections (2), root, eps, quotient, decay and step (6); weight, gradient and moments
    // are read, all but the gradient are written.
    let forward =
        Cost { flops: 15 * n_parameters, elements_read: 4 * n_parameters, elements_written: 3 * n_parameters };
    Operation {
        name: "optimizer",
        kind: OperationKind::Elementwise,
        forward,
        backward_input: Cost::default(),
        backward_weight: Cost::default(),
    }
}
