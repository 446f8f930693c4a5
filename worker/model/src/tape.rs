//! What a forward pass did, phase by phase, so that backward can walk it in reverse. A value is the output of one phase
//! and the input of later ones; gradients of a value add up over its uses.

use ds_kernels::backward;
use tch::Tensor;

use crate::parameters::Gradients;
use crate::{ExpertExchange, ModelError};

/// A tensor between phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value(usize);

/// A parameter inside a phase: its tensor as a leaf, and where its gradient goes.
pub(crate) struct Leaf {
    pub(crate) tensor: Tensor,
    /// Index in the stage's parameters, and the rows of a stacked one (first, number).
    pub(crate) gradient: (usize, Option<(i64, i64)>),
}

/// What a walk back has at hand beside a gradient.
pub(crate) struct Walk<'a> {
    /// Of the stage's parameters, to be added to.
    pub(crate) gradients: &'a mut Gradients,
    pub(crate) exchange: &'a dyn ExpertExchange,
}

/// The gradient of a phase's input, given that of its output.
pub(crate) type Reverse = Box<dyn FnOnce(Tensor, &mut Walk<'_>) -> Result<Tensor, ModelError>>;

enum Phase {
    /// Autograd knows its derivative.
    Graph { inputs: Vec<(Value, Tensor)>, leaves: Vec<Leaf>, outputs: Vec<(Value, Tensor)> },
    /// Its derivative is written by hand: one input, one output.
    Written { input: Value, output: Value, reverse: Reverse },
}

/// All phases of one pass.
#[derive(Default)]
pub(crate) struct Tape {
    phases: Vec<Phase>,
    n_values: usize,
    /// Nothing is remembered.
    forgets: bool,
}

impl Tape {
    /// For a pass that nobody will walk back.
    pub(crate) fn forgetful() -> Self {
        Self { forgets: true, ..Self::default() }
    }

    /// A value from outside.
    pub(crate) fn value(&mut self) -> Value {
        self.n_values += 1;
        Value(self.n_values - 1)
    }

    /// Runs a phase whose derivative autograd knows. It gets its inputs as leaves of a new graph.
    pub(crate) fn graph<const N: usize>(
        &mut self,
        inputs: &[&(Value, Tensor)],
        leaves: Vec<Leaf>,
        phase: impl FnOnce(&[Tensor], &[Leaf]) -> Result<[Tensor; N], ModelError>,
    ) -> Result<[(Value, Tensor); N], ModelError> {
        let cut: Vec<Tensor> = inputs.iter().map(|(_, t)| self.leaf(t)).collect();
        let outputs = phase(&cut, &leaves)?;
        let outputs = outputs.map(|output| (self.value(), output));
        if !self.forgets {
            let inputs = inputs.iter().map(|(value, _)| *value).zip(cut).collect();
            let kept = outputs.iter().map(|(value, t)| (*value, t.shallow_clone())).collect();
            self.phases.push(Phase::Graph { inputs, leaves, outputs: kept });
        }
        Ok(outputs.map(|(value, t)| (value, t.detach())))
    }

    /// Notes a phase that autograd does not see (rows that moved, experts), and how gradients pass it.
    pub(crate) fn written(&mut self, input: Value, output: Tensor, reverse: Reverse) -> (Value, Tensor) {
        let value = self.value();
        if !self.forgets {
            self.phases.push(Phase::Written { input, output: value, reverse });
        }
        (value, output)
    }

    /// Walks back from the gradients `seeds`; parameters' gradients add up in `gradients`, that of `wanted` is returned.
    pub(crate) fn backward(
        self,
        seeds: Vec<(Value, Tensor)>,
        wanted: Option<Value>,
        gradients: &mut Gradients,
        exchange: &dyn ExpertExchange,
    ) -> Result<Option<Tensor>, ModelError> {
        let mut walk = Walk { gradients, exchange };
        let mut sums: Vec<Option<Tensor>> = (0..self.n_values).map(|_| None).collect();
        for (value, seed) in seeds {
            add(&mut sums, value, seed);
        }
        for phase in self.phases.into_iter().rev() {
            match phase {
                Phase::Graph { inputs, leaves, outputs } => {
                    backward_graph(&inputs, &leaves, &outputs, &mut sums, walk.gradients)?;
                }
                Phase::Written { input, output, reverse } => {
                    // None where the weights of all losses behind it are zero, which all ranks agree about.
                    if let Some(gradient) = sums[output.0].take() {
                        add(&mut sums, input, reverse(gradient, &mut walk)?);
                    }
                }
            }
        }
        Ok(wanted.and_then(|value| sums[value.0].take()))
    }

    fn leaf(&self, tensor: &Tensor) -> Tensor {
        let is_real = tensor.is_floating_point() && !self.forgets;
        if is_real { tensor.detach().set_requires_grad(true) } else { tensor.shallow_clone() }
    }
}

fn add(sums: &mut [Option<Tensor>], value: Value, gradient: Tensor) {
    let sum = &mut sums[value.0];
    *sum = Some(match sum.take() {
        Some(sum) => sum + gradient,
        None => gradient,
    });
}

fn backward_graph(
    inputs: &[(Value, Tensor)],
    leaves: &[Leaf],
    outputs: &[(Value, Tensor)],
    sums: &mut [Option<Tensor>],
    gradients: &mut Gradients,
) -> Result<(), ModelError> {
    // A value that nothing used has no gradient; integers never have one.
    let given: Vec<(&Tensor, Tensor)> = outputs
        .iter()
        .filter_map(|(value, output)| Some((output, sums[value.0].take()?)))
        .filter(|(output, _)| output.requires_grad())
        .collect();
    if given.is_empty() {
        return Ok(());
    }
    let real: Vec<&(Value, Tensor)> = inputs.iter().filter(|(_, t)| t.requires_grad()).collect();
    let wanted: Vec<&Tensor> = real.iter().map(|(_, t)| t).chain(leaves.iter().map(|leaf| &leaf.tensor)).collect();
    let (given, seeds): (Vec<&Tensor>, Vec<Option<&Tensor>>) =
        given.iter().map(|(output, g)| (*output, Some(g))).unzip();
    let mut found = backward(&given, &seeds, &wanted, false)?.into_iter();
    for ((value, _), gradient) in real.iter().zip(found.by_ref().take(real.len())) {
        if let Some(gradient) = gradient {
            add(sums, *value, gradient);
        }
    }
    for (leaf, gradient) in leaves.iter().zip(found) {
        if let Some(gradient) = gradient {
            gradients.add(leaf.gradient, &gradient);
        }
    }
    Ok(())
}
