//! The work of a plan's stages by a plain roofline: an operation takes as long as its arithmetic or its memory traffic,
//! whichever is longer, at the rates of a device.

use ds_arch::{Cost, LayerId, Operation, OperationKind, Place, operations};
use ds_plan::spec::{ComputeType, JobSpec};
use ds_plan::{Coordinates, JobPlan, Stage};
use ds_topology::traffic::moe::RowFormat;

use super::job::Closing;
use crate::{Exchange, Part, PassWork, StageWork};

/// What a device does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// FLOP/s of matrix products.
    pub matmul: f64,
    /// FLOP/s of products grouped by expert.
    pub grouped: f64,
    /// FLOP/s of attention.
    pub attention: f64,
    /// FLOP/s of everything else.
    pub elementwise: f64,
    /// Bytes/s of memory.
    pub memory: f64,
    /// Seconds of an operation that does nothing.
    pub overhead: f64,
}

impl Rates {
    fn seconds(&self, kind: OperationKind, cost: Cost, element_bytes: f64) -> f64 {
        if cost == Cost::default() {
            return 0.0;
        }
        let rate = match kind {
            OperationKind::Matmul => self.matmul,
            OperationKind::GroupedMatmul => self.grouped,
            OperationKind::Attention => self.attention,
            OperationKind::Elementwise | OperationKind::Gather => self.elementwise,
        };
        let arithmetic = cost.flops as f64 / rate;
        self.overhead + arithmetic.max(cost.elements() as f64 * element_bytes / self.memory)
    }
}

/// Work of every stage of a plan, in the order of the model.
pub fn works(plan: &JobPlan, rates: &Rates) -> Vec<StageWork> {
    plan.stages().iter().map(|stage| work(plan, stage, rates)).collect()
}

fn work(plan: &JobPlan, stage: &Stage, rates: &Rates) -> StageWork {
    let spec = plan.spec();
    let (mut forward, mut input, mut weight): (Vec<Part>, Vec<Part>, Vec<Part>) = Default::default();
    for place in stage.places() {
        let operations = operations(&spec.model, place, load(plan));
        let blocks = Blocks { rates, element_bytes: element_bytes(spec), operations: &operations };
        let layer = match place {
            Place::Layer(layer) if spec.model.is_moe(layer) => Some(layer),
            _ => None,
        };
        blocks.run(spec, layer, false, |op| op.forward, &mut forward);
        blocks.weights(&mut weight);
        // Backward goes the other way: built in the order of the model, turned round once at the end.
        let mut own = Vec::new();
        blocks.run(spec, layer, true, |op| op.backward_input, &mut own);
        input.extend(own);
    }
    input.reverse();
    weight.reverse();
    let tokens = load(plan).tokens as f64 / f64::from(plan.grid().n_tensor());
    StageWork {
        forward: PassWork { parts: forward },
        backward_input: PassWork { parts: input },
        backward_weight: PassWork { parts: weight },
        boundary_bytes: tokens * f64::from(spec.model.hidden_size) * element_bytes(spec),
    }
}

/// What ends a step: gradients are reduced in FP32, weights gathered in the format of forward and backward. The
/// optimizer reads and writes the master weights, both moments and the gradients of a rank's share.
pub fn closing(plan: &JobPlan, rates: &Rates) -> Vec<Closing> {
    let grid = plan.grid();
    let at = |pipeline| {
        let rank = grid.rank_at(Coordinates { pipeline, data: 0, context: 0, tensor: 0 });
        let parameters = plan.parameters_of(rank);
        let count = |of_experts: bool| -> f64 {
            let own = parameters.iter().filter(|p| p.expert.is_some() == of_experts);
            own.map(|p| p.n_elements() as f64).sum()
        };
        let (dense, experts) = (count(false), count(true));
        let share = dense / f64::from(grid.n_samplers()) + experts / f64::from(grid.n_replicas());
        Closing {
            dense_gradient_bytes: 4.0 * dense,
            expert_gradient_bytes: 4.0 * experts,
            dense_weight_bytes: element_bytes(plan.spec()) * dense,
            expert_weight_bytes: element_bytes(plan.spec()) * experts,
            // Gradient read; master weight and two moments read and written, 4 bytes each.
            optimizer_seconds: rates.overhead + share * 28.0 / rates.memory,
        }
    };
    (0..grid.n_pipeline()).map(at).collect()
}

fn load(plan: &JobPlan) -> ds_arch::Load {
    let (spec, phase) = (plan.spec(), &plan.spec().train[0]);
    ds_arch::Load {
        tokens: u64::from(phase.microbatch) * u64::from(phase.sequence) / u64::from(plan.grid().n_context()),
        sequence: phase.sequence.into(),
        n_experts_held: u64::from(spec.model.moe.n_experts) / u64::from(plan.grid().n_expert()),
    }
}

fn element_bytes(spec: &JobSpec) -> f64 {
    match spec.precision.compute {
        ComputeType::Bf16 => 2.0,
        ComputeType::F32 => 4.0,
        ComputeType::F64 => 8.0,
    }
}

/// Bytes of a row on the wire: as wide as what is computed with.
fn row_bytes(spec: &JobSpec) -> f64 {
    match spec.precision.compute {
        ComputeType::Bf16 => RowFormat::Bf16.row_bytes(spec.model.hidden_size),
        ComputeType::F32 | ComputeType::F64 => f64::from(spec.model.hidden_size) * element_bytes(spec),
    }
}

/// The operations of a place.
struct Blocks<'a> {
    rates: &'a Rates,
    element_bytes: f64,
    operations: &'a [Operation],
}

/// Which block of a layer an operation belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Up to dispatch.
    Before,
    /// On the rows that others sent.
    Experts,
    /// After combine, and whatever else there is.
    After,
    /// The network carries it.
    Wire,
}

fn block(name: &str) -> Block {
    if name == "mlp.dispatch" || name == "mlp.combine" {
        Block::Wire
    } else if name.starts_with("mlp.experts.") {
        Block::Experts
    } else if name.starts_with("mlp.combine") || name.starts_with("mlp.shared_experts") || name == "mlp.residual" {
        Block::After
    } else {
        Block::Before
    }
}

impl Blocks<'_> {
    fn seconds(&self, of: Block, cost: impl Fn(&Operation) -> Cost) -> f64 {
        let own = self.operations.iter().filter(|op| block(op.name) == of);
        own.map(|op| self.rates.seconds(op.kind, cost(op), self.element_bytes)).sum()
    }

    /// Forward, or input gradients in the order of forward. In backward the gradient of combine is a dispatch.
    fn run(
        &self,
        spec: &JobSpec,
        layer: Option<LayerId>,
        backward: bool,
        cost: impl Fn(&Operation) -> Cost,
        to: &mut Vec<Part>,
    ) {
        let compute = |label, of| Part::Compute { label, seconds: self.seconds(of, &cost) };
        let Some(layer) = layer else {
            let seconds = self.seconds(Block::Before, &cost) + self.seconds(Block::After, &cost);
            to.push(Part::Compute { label: "dense", seconds });
            return;
        };
        let row_bytes = row_bytes(spec);
        let exchange = |exchange| Part::Exchange { layer, exchange, row_bytes };
        let (first, second) = match backward {
            false => (Exchange::Dispatch, Exchange::Combine),
            true => (Exchange::Combine, Exchange::Dispatch),
        };
        to.push(compute("attention and gate", Block::Before));
        to.push(exchange(first));
        to.push(compute("experts", Block::Experts));
        to.push(exchange(second));
        to.push(compute("shared expert", Block::After));
    }

    fn weights(&self, to: &mut Vec<Part>) {
        let blocks =
            [("attention and gate", Block::Before), ("experts", Block::Experts), ("shared expert", Block::After)];
        for (label, of) in blocks {
            let seconds = self.seconds(of, |op| op.backward_weight);
            if seconds > 0.0 {
                to.push(Part::Compute { label, seconds });
            }
        }
    }
}
