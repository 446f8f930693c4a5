//! One method a kind of operation; the formulas stand here and nowhere else.

use super::{Cost, Load, Operation, OperationKind};
use crate::ModelConfig;

pub(super) struct Builder<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) load: Load,
    operations: Vec<Operation>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(config: &'a ModelConfig, load: Load) -> Self {
        Self { config, load, operations: Vec::new() }
    }

    pub(super) fn into_operations(self) -> Vec<Operation> {
        self.operations
    }

    /// Every token times a weight `[to, from]`.
    pub(super) fn matmul(&mut self, name: &'static str, from: u64, to: u64) {
        self.weighted(name, OperationKind::Matmul, self.load.tokens, 1, from, to);
    }

    /// Every token's copies times the weights `[to, from]` of the experts that they went to.
    pub(super) fn grouped_matmul(&mut self, name: &'static str, from: u64, to: u64) {
        let rows = self.load.tokens * u64::from(self.config.moe.top_k);
        self.weighted(name, OperationKind::GroupedMatmul, rows, self.load.n_experts_held, from, to);
    }

    fn weighted(&mut self, name: &'static str, kind: OperationKind, rows: u64, n_weights: u64, from: u64, to: u64) {
        let flops = 2 * rows * from * to;
        let (input, weight, output) = (rows * from, n_weights * from * to, rows * to);
        self.operations.push(Operation {
            name,
            kind,
            forward: Cost { flops, elements_read: input + weight, elements_written: output },
            backward_input: Cost { flops, elements_read: output + weight, elements_written: input },
            backward_weight: Cost { flops, elements_read: output + input, elements_written: weight },
        });
    }

    /// A product of activations over the causal pairs of every head; both operands need a gradient. `inputs` and
    /// `outputs` are the elements that come from and go to memory: scores do not.
    pub(super) fn attention(&mut self, name: &'static str, width: u64, inputs: u64, outputs: u64) {
        let flops = 2 * self.load.causal_pairs() * u64::from(self.config.attention.n_heads) * width;
        self.operations.push(Operation {
            name,
            kind: OperationKind::Attention,
            forward: Cost { flops, elements_read: inputs, elements_written: outputs },
            backward_input: Cost { flops: 2 * flops, elements_read: inputs + outputs, elements_written: inputs },
            backward_weight: Cost::default(),
        });
    }

    /// `n` results of `steps` steps each, from `n_inputs` elements; backward takes twice the steps, reads inputs and
    /// the gradient of the results, and writes the gradient of the inputs.
    pub(super) fn elementwise(&mut self, name: &'static str, steps: u64, n_inputs: u64, n: u64) {
        self.operations.push(Operation {
            name,
            kind: OperationKind::Elementwise,
            forward: Cost { flops: steps * n, elements_read: n_inputs, elements_written: n },
            backward_input: Cost { flops: 2 * steps * n, elements_read: n_inputs + n, elements_written: n_inputs },
            backward_weight: Cost::default(),
        });
    }

    /// Arithmetic on what never leaves the chip.
    pub(super) fn on_chip(&mut self, name: &'static str, flops: u64) {
        self.operations.push(Operation {
            name,
            kind: OperationKind::Elementwise,
            forward: Cost { flops, ..Cost::default() },
            backward_input: Cost { flops: 2 * flops, ..Cost::default() },
            backward_weight: Cost::default(),
        });
    }

    /// RMSNorm: square and add, then times the root and times the weight.
    pub(super) fn norm(&mut self, name: &'static str, width: u64) {
        let n = self.load.tokens * width;
        self.operations.push(Operation {
            name,
            kind: OperationKind::Elementwise,
            forward: Cost { flops: 4 * n, elements_read: n + width, elements_written: n },
            backward_input: Cost { flops: 6 * n, elements_read: 2 * n + width, elements_written: n },
            backward_weight: Cost { flops: 2 * n, elements_read: 2 * n, elements_written: width },
        });
    }

    /// Rows picked by index; backward adds them where they came from.
    pub(super) fn gather(&mut self, name: &'static str, rows: u64, width: u64) {
        let n = rows * width;
        self.operations.push(Operation {
            name,
            kind: OperationKind::Gather,
            forward: Cost { flops: 0, elements_read: n, elements_written: n },
            backward_input: Cost { flops: n, elements_read: n, elements_written: n },
            backward_weight: Cost::default(),
        });
    }
}
