//! Kernels and collectives, and the blocks of a layer that they belong to.

use crate::hardware::Format;

/// What a matrix product is for; libraries reach different speeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Activations or their gradients, with one weight.
    Plain,
    /// The gradient of one weight.
    WeightGradient,
    /// Activations or their gradients, each run of rows with the weight of its expert.
    Grouped,
}

/// One kernel, or equal ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kernel {
    /// `batches` products of `[rows, depth]` and `[depth, columns]`.
    Matmul {
        /// Of the result.
        rows: f64,
        /// Of the result.
        columns: f64,
        /// Summed over.
        depth: f64,
        /// Independent products in the one launch.
        batches: f64,
        /// Of the operands.
        format: Format,
        /// What it is for.
        role: Role,
    },
    /// Fused attention: scores never leave the chip.
    FusedAttention {
        /// Over the pairs that the mask leaves.
        flops: f64,
        /// Operands and results.
        bytes: f64,
        /// Which direction.
        backward: bool,
    },
    /// Kernels that only move memory.
    Memory {
        /// Read and written.
        bytes: f64,
        /// How many kernels share them.
        n: f64,
    },
}

impl Kernel {
    /// Floating-point operations of matrix units.
    pub fn flops(&self) -> f64 {
        match *self {
            Self::Matmul { rows, columns, depth, batches, .. } => 2.0 * rows * columns * depth * batches,
            Self::FusedAttention { flops, .. } => flops,
            Self::Memory { .. } => 0.0,
        }
    }

    /// Launches: products grouped by expert are one an expert, as libraries without a grouped kernel launch them.
    pub fn launches(&self) -> f64 {
        match *self {
            Self::Memory { n, .. } => n,
            Self::Matmul { batches, role: Role::Grouped | Role::WeightGradient, .. } => batches,
            _ => 1.0,
        }
    }
}

/// Who takes part in a collective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Ranks that share a matrix.
    Tensor,
    /// Ranks that share a sequence.
    Context,
    /// Ranks that the experts are spread over.
    Expert,
}

/// Messages that a block waits for, in one direction of the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Collective {
    /// Every rank ends with the sum of `bytes` of each.
    AllReduce(Group, f64),
    /// All-gather and reduce-scatter of `bytes` of the whole, one after the other.
    GatherScatter(Group, f64),
    /// Keys and values, `bytes` of the whole, gathered while attention runs on what is there.
    Gather(Group, f64),
    /// Tokens to their experts: rows of so many bytes.
    Dispatch(f64),
    /// Results back: rows of so many bytes.
    Combine(f64),
}

/// A part of a layer in both directions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// For reports and traces.
    pub label: &'static str,
    /// Activations.
    pub forward: Vec<Kernel>,
    /// Input gradients.
    pub input: Vec<Kernel>,
    /// Weight gradients.
    pub weight: Vec<Kernel>,
    /// What selective recomputation does again in backward.
    pub cheap: Vec<Kernel>,
    /// What it waits for forward; backward waits for the mirror image.
    pub collectives: Vec<Collective>,
}

impl Block {
    pub(super) fn new(label: &'static str) -> Self {
        Self { label, ..Self::default() }
    }

    /// A product with one weight and its two gradients.
    pub(super) fn linear(&mut self, tokens: f64, from: f64, to: f64, format: Format) {
        self.grouped(tokens, from, to, 1.0, format, Role::Plain);
    }

    /// `n` weights, each with its part of the rows.
    pub(super) fn grouped(&mut self, rows: f64, from: f64, to: f64, n: f64, format: Format, role: Role) {
        let product = |rows, columns, depth, role| Kernel::Matmul { rows, columns, depth, batches: n, format, role };
        let each = rows / n;
        self.forward.push(product(each, to, from, role));
        self.input.push(product(each, from, to, role));
        self.weight.push(product(to, from, each, Role::WeightGradient));
    }

    /// Memory traffic forward and backward.
    pub(super) fn memory(&mut self, forward: f64, backward: f64, n: f64) {
        self.forward.push(Kernel::Memory { bytes: forward, n });
        self.input.push(Kernel::Memory { bytes: backward, n });
    }

    /// Matrix FLOPs of a forward, without recomputation.
    pub fn flops(&self) -> f64 {
        self.forward.iter().map(Kernel::flops).sum()
    }
}
