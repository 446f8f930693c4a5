//! What a forward pass did, phase by phase, so that backward can walk it in reverse. A value is the output of one phase
//! and the input of later ones; gradients of a value add up over its uses.
//!
//! A cheap phase may run again in backward: its outputs, which later phases save, give their bytes back once nothing
//! reads them any more ([`Tape::let_go`]), and share those of the second run before backward needs them (Megatron-LM
//! does so and calls it checkpointing without output).

use std::collections::HashMap;

use ds_kernels::{PutOff, WeightGradient, backward, refill, release};
use tch::{Tensor, no_grad};

use crate::parameters::Gradients;
use crate::turns::arrived;
use crate::weight_work::WeightWork;
use crate::{Arrival, ExpertExchange, ModelError};

/// A tensor between phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Value(usize);

/// A parameter inside a phase: its tensor as a leaf, and where its gradient goes.
pub(crate) struct Leaf {
    pub(crate) tensor: Tensor,
    /// Index in the stage's parameters, and the rows of a stacked one (first, number).
    pub(crate) gradient: (usize, Option<(i64, i64)>),
}

impl Leaf {
    /// The parameter that a dense part of this leaf is in, and its first element there.
    fn element(&self, part: &Tensor) -> Option<(usize, i64)> {
        let (bytes, size) = (part.data_ptr() as usize, part.kind().elt_size_in_bytes());
        let first = bytes.checked_sub(self.tensor.data_ptr() as usize)? / size;
        let (index, rows) = self.gradient;
        let before = rows.map_or(0, |(first_row, n)| first_row * (self.tensor.numel() as i64 / n));
        let is_inside = part.is_contiguous() && first + part.numel() <= self.tensor.numel();
        is_inside.then_some((index, before + first as i64))
    }
}

/// What a walk back has at hand beside a gradient.
pub(crate) struct Walk<'a> {
    /// Of the stage's parameters, to be added to.
    pub(crate) gradients: &'a mut Gradients,
    pub(crate) exchange: &'a dyn ExpertExchange,
    /// Where weights' gradients wait; they are made at once without it.
    pub(crate) put_off: Option<&'a mut WeightWork>,
}

impl Walk<'_> {
    /// Makes the gradients that a graph has noted, or has them wait.
    fn noted(&mut self, notes: Vec<WeightGradient>, leaves: &[Leaf]) -> Result<(), ModelError> {
        for note in notes {
            let place = leaves.iter().find_map(|leaf| leaf.element(note.weight()));
            let (index, first) = place.ok_or(ModelError::NoLeaf { shape: note.weight().size() })?;
            self.weights(move |gradients| {
                let shape = note.weight().size();
                Ok(note.add_to(&gradients.elements(index, first, &shape))?)
            })?;
        }
        Ok(())
    }

    /// Makes weights' gradients, or has them wait.
    pub(crate) fn weights(
        &mut self,
        add: impl FnOnce(&mut Gradients) -> Result<(), ModelError> + 'static,
    ) -> Result<(), ModelError> {
        match &mut self.put_off {
            Some(later) => later.push(add),
            None => add(self.gradients)?,
        }
        Ok(())
    }
}

/// The gradient of a phase's input, given that of its output.
pub(crate) type Reverse = Box<dyn FnOnce(Tensor, &mut Walk<'_>) -> Result<Tensor, ModelError>>;

/// Starts the gradient of a phase's output on its way to the rank where its input came from.
pub(crate) type Departure = Box<dyn for<'e> FnOnce(Tensor, &'e dyn ExpertExchange) -> Result<Arrival<'e>, ModelError>>;

/// A phase that can run a second time.
type Again = Box<dyn Fn(&[Tensor], &[Leaf]) -> Result<Vec<Tensor>, ModelError>>;

enum Phase {
    /// Autograd knows its derivative.
    Graph { inputs: Vec<(Value, Tensor)>, leaves: Vec<Leaf>, outputs: Vec<(Value, Tensor)> },
    /// Likewise, once it has run again; nothing between its inputs and its outputs is kept.
    Again { inputs: Vec<(Value, Tensor)>, leaves: Vec<Leaf>, outputs: Vec<(Value, Tensor)>, run: Again },
    /// Its derivative is written by hand: one input, one output.
    Written { input: Value, output: Value, reverse: Reverse },
    /// Rows that moved between ranks: their gradients move the other way.
    Moved { input: Value, output: Value, departure: Departure },
}

/// All phases of one pass.
#[derive(Default)]
pub(crate) struct Tape {
    phases: Vec<Phase>,
    n_values: usize,
    /// Nothing is remembered.
    forgets: bool,
    /// Cheap phases run again.
    recomputes: bool,
    /// The phase that made a value, where it runs again.
    makers: HashMap<Value, usize>,
    /// Phases from here on have not let go.
    n_let_go: usize,
    /// Where graphs note weights' gradients.
    notes: PutOff,
}

impl Tape {
    /// For a pass that nobody will walk back.
    pub(crate) fn forgetful() -> Self {
        Self { forgets: true, ..Self::default() }
    }

    /// For a pass whose cheap phases run again in backward.
    pub(crate) fn recomputing() -> Self {
        Self { recomputes: true, ..Self::default() }
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
        let outputs = self.notes.scope(|| phase(&cut, &leaves))?;
        let outputs = outputs.map(|output| (self.value(), output));
        if !self.forgets {
            let inputs = inputs.iter().map(|(value, _)| *value).zip(cut).collect();
            let kept = outputs.iter().map(|(value, t)| (*value, t.shallow_clone())).collect();
            self.phases.push(Phase::Graph { inputs, leaves, outputs: kept });
        }
        Ok(outputs.map(|(value, t)| (value, t.detach())))
    }

    /// [`Tape::graph`] for a phase that costs little. Where the tape recomputes, it runs once more in backward, on the
    /// same inputs; no output may share the memory of an input.
    pub(crate) fn cheap<const N: usize>(
        &mut self,
        inputs: &[&(Value, Tensor)],
        leaves: Vec<Leaf>,
        phase: impl Fn(&[Tensor], &[Leaf]) -> Result<[Tensor; N], ModelError> + 'static,
    ) -> Result<[(Value, Tensor); N], ModelError> {
        if self.forgets || !self.recomputes {
            return self.graph(inputs, leaves, phase);
        }
        let inputs: Vec<(Value, Tensor)> = inputs.iter().map(|(value, t)| (*value, t.shallow_clone())).collect();
        let given: Vec<Tensor> = inputs.iter().map(|(_, t)| t.shallow_clone()).collect();
        let outputs = no_grad(|| phase(&given, &leaves))?.map(|output| (self.value(), output));
        let kept: Vec<_> = outputs.iter().map(|(value, t)| (*value, t.shallow_clone())).collect();
        self.makers.extend(kept.iter().map(|(value, _)| (*value, self.phases.len())));
        let run: Again = Box::new(move |inputs, leaves| Ok(phase(inputs, leaves)?.into()));
        self.phases.push(Phase::Again { inputs, leaves, outputs: kept, run });
        Ok(outputs)
    }

    /// Frees the bytes of what cheap phases have given so far: forward reads it no more.
    pub(crate) fn let_go(&mut self) -> Result<(), ModelError> {
        for phase in &self.phases[self.n_let_go..] {
            if let Phase::Again { outputs, .. } = phase {
                outputs.iter().try_for_each(|(_, output)| release(output))?;
            }
        }
        self.n_let_go = self.phases.len();
        Ok(())
    }

    /// Notes that rows moved, and how their gradients depart.
    pub(crate) fn moved(&mut self, input: Value, output: Tensor, departure: Departure) -> (Value, Tensor) {
        let value = self.value();
        if !self.forgets {
            self.phases.push(Phase::Moved { input, output: value, departure });
        }
        (value, output)
    }

    /// Notes a phase that autograd does not see (experts), and how gradients pass it.
    pub(crate) fn written(&mut self, input: Value, output: Tensor, reverse: Reverse) -> (Value, Tensor) {
        let value = self.value();
        if !self.forgets {
            self.phases.push(Phase::Written { input, output: value, reverse });
        }
        (value, output)
    }

    /// Walks back from the gradients `seeds`; that of `wanted` is returned.
    pub(crate) async fn backward(
        mut self,
        seeds: Vec<(Value, Tensor)>,
        wanted: Option<Value>,
        mut walk: Walk<'_>,
    ) -> Result<Option<Tensor>, ModelError> {
        let mut sums: Vec<Option<Tensor>> = (0..self.n_values).map(|_| None).collect();
        for (value, seed) in seeds {
            add(&mut sums, value, seed);
        }
        while let Some(last) = self.phases.len().checked_sub(1) {
            self.prepare(last)?;
            match self.phases.pop().expect("it is the last") {
                Phase::Graph { inputs, leaves, outputs } => {
                    backward_graph(&inputs, &leaves, &outputs, &mut sums, walk.gradients)?;
                    walk.noted(self.notes.take(), &leaves)?;
                }
                Phase::Again { .. } => unreachable!("it has run again"),
                Phase::Written { input, output, reverse } => {
                    // None where the weights of all losses behind it are zero, which all ranks agree about.
                    if let Some(gradient) = sums[output.0].take() {
                        add(&mut sums, input, reverse(gradient, &mut walk)?);
                    }
                }
                Phase::Moved { input, output, departure } => {
                    if let Some(gradient) = sums[output.0].take() {
                        add(&mut sums, input, arrived(departure(gradient, walk.exchange)?).await?);
                    }
                }
            }
        }
        Ok(wanted.and_then(|value| sums[value.0].take()))
    }

    /// Makes a phase ready for its backward: what cheap phases gave it is there again, and if it is one, it runs again
    /// and has a graph.
    fn prepare(&mut self, place: usize) -> Result<(), ModelError> {
        for value in self.phases[place].inputs() {
            if let Some(&maker) = self.makers.get(&value) {
                self.prepare(maker)?;
            }
        }
        let nothing = Phase::Graph { inputs: Vec::new(), leaves: Vec::new(), outputs: Vec::new() };
        let (inputs, leaves, outputs, run) = match std::mem::replace(&mut self.phases[place], nothing) {
            Phase::Again { inputs, leaves, outputs, run } => (inputs, leaves, outputs, run),
            ready => {
                self.phases[place] = ready;
                return Ok(());
            }
        };
        let cut: Vec<Tensor> = inputs.iter().map(|(_, t)| self.leaf(t)).collect();
        let fresh = self.notes.scope(|| run(&cut, &leaves))?;
        for ((_, output), fresh) in outputs.iter().zip(&fresh) {
            refill(output, &fresh.detach())?;
        }
        let outputs = outputs.iter().map(|(value, _)| *value).zip(fresh).collect();
        let inputs = inputs.iter().map(|(value, _)| *value).zip(cut).collect();
        self.phases[place] = Phase::Graph { inputs, leaves, outputs };
        Ok(())
    }

    fn leaf(&self, tensor: &Tensor) -> Tensor {
        let is_real = tensor.is_floating_point() && !self.forgets;
        if is_real { tensor.detach().set_requires_grad(true) } else { tensor.shallow_clone() }
    }
}

impl Phase {
    fn inputs(&self) -> Vec<Value> {
        match self {
            Self::Graph { inputs, .. } | Self::Again { inputs, .. } => inputs.iter().map(|(value, _)| *value).collect(),
            Self::Written { input, .. } | Self::Moved { input, .. } => vec![*input],
        }
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
