//! Stages: embedding, decoder layers, head and MTP modules, as far as a rank holds them.

mod decode;
mod score;

use std::rc::Rc;

use ds_arch::{LayerId, ModelConfig};
use tch::{Device, Tensor, no_grad};

use crate::attention::Attention;
use crate::exchange::ExpertExchange;
use crate::feed_forward::feed_forward;
use crate::gate::Choice;
use crate::loss::{IGNORED, LossWeights, StageLosses};
use crate::moe::Moe;
use crate::norm::rms_norm;
use crate::parameters::{Gradients, StagePart, Store, StoredParameter};
use crate::rope::Rope;
use crate::sequence::{Angles, SequenceExchange, SequenceShare};
use crate::tape::{Leaf, Tape, Value, Walk};
use crate::turns::{Turn, alone, in_turns};
use crate::watch::{Seen, Watch};
use crate::weight_work::WeightWork;
use crate::{ModelError, Precision};

pub use decode::{Cache, Decoded, Place, Step, column};

const EMBEDDING: &str = "model.embed_tokens.weight";

/// The part of the network that one rank holds: a stage, or several, which need not follow each other.
pub struct StageModel {
    config: ModelConfig,
    precision: Precision,
    device: Device,
    store: Store,
    stages: Vec<Stage>,
    recomputes: bool,
}

/// One stage.
struct Stage {
    part: StagePart,
    layers: Vec<Layer>,
    mtp: Vec<Layer>,
}

/// A decoder layer.
struct Layer {
    id: u32,
    attention: Rc<Attention>,
    /// None: a dense feed-forward network.
    moe: Option<Moe>,
}

/// Tokens of some sequences and what should follow them.
#[derive(Debug)]
pub struct Microbatch {
    /// `[b, t]`.
    pub ids_bt: Tensor,
    /// `[b, t]`; [`IGNORED`] where no loss is taken.
    pub targets_bt: Tensor,
    /// Inputs and targets of every MTP module, each `[b, t]`.
    pub mtp: Vec<(Tensor, Tensor)>,
}

/// What a stage gets.
pub struct StageInput<'a> {
    /// Token ids reach every stage.
    pub microbatch: &'a Microbatch,
    /// The stream from the stage before, `[b, t, d]`; none where the stage embeds.
    pub hidden: Option<Tensor>,
}

/// What a stage gives.
pub struct StageForward {
    /// The stream for the next stage, `[b, t, d]`; none where the stage scores.
    pub output: Option<Tensor>,
    /// For backward.
    pub saved: Saved,
    /// Raw sums of this stage.
    pub losses: StageLosses,
    /// Tokens of this rank that each expert got, for every MoE layer of the stage; padding is not counted.
    pub loads: Vec<(LayerId, Vec<f64>)>,
}

/// A forward pass that can be walked back.
pub struct Saved {
    tape: Tape,
    seeds: Vec<(Value, Tensor)>,
    input: Option<Value>,
    output: Option<Value>,
}

impl Saved {
    async fn back(self, output_gradient: Option<Tensor>, walk: Walk<'_>) -> Result<Option<Tensor>, ModelError> {
        let Self { tape, mut seeds, input, output } = self;
        seeds.extend(output.zip(output_gradient));
        tape.backward(seeds, input, walk).await
    }
}

/// A pass in progress.
struct Pass<'a> {
    tape: Tape,
    angles: Rc<Angles>,
    weights: &'a LossWeights,
    exchange: &'a dyn ExpertExchange,
    watch: &'a mut Watch<'a>,
    seeds: Vec<(Value, Tensor)>,
    losses: StageLosses,
    loads: Vec<(LayerId, Vec<f64>)>,
}

impl StageModel {
    /// One stage. Initial weights are a function of (seed, logical name, element index).
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn new(
        config: &ModelConfig,
        part: StagePart,
        device: Device,
        precision: impl Into<Precision>,
        seed: u64,
    ) -> Result<Self, ModelError> {
        Self::of_parts(config, vec![part], device, precision, seed)
    }

    /// Several stages, in the order of the model. What two of them need (the embedding, of which MTP has a copy) is there
    /// once.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn of_parts(
        config: &ModelConfig,
        parts: Vec<StagePart>,
        device: Device,
        precision: impl Into<Precision>,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let precision = precision.into();
        let store = Store::new(config, &parts, device, precision, seed);
        let stage = |part: StagePart| {
            let n_local = part.experts.end - part.experts.start;
            let layer = |id: u32| Layer {
                id,
                attention: Rc::new(Attention::new(config, id, precision.products)),
                moe: config.is_moe(LayerId(id)).then(|| Moe::new(config, id, n_local, precision, device)),
            };
            let (layers, mtp) =
                (part.layers.clone().map(layer).collect(), part.mtp_layers.clone().map(layer).collect());
            Stage { part, layers, mtp }
        };
        let stages = parts.into_iter().map(stage).collect();
        Ok(Self { store, stages, config: config.clone(), precision, device, recomputes: false })
    }

    /// The stage of a rank that holds one.
    fn only(&self) -> &Stage {
        &self.stages[0]
    }

    fn all_layers(&self) -> impl Iterator<Item = &Layer> {
        self.stages.iter().flat_map(|stage| stage.layers.iter().chain(&stage.mtp))
    }

    /// Real tensors, in the order of the model's table.
    pub fn parameters(&self) -> &[StoredParameter] {
        self.store.stored()
    }

    /// The biases of the stage's gates, `[e]` each, to be changed in place.
    pub fn biases(&self) -> Vec<(LayerId, Tensor)> {
        self.all_layers().filter_map(|layer| layer.moe.as_ref()).map(Moe::bias).collect()
    }

    /// Experts of a layer live elsewhere from now on: slot s of the ranks that share them holds expert `experts[s]`, and
    /// this rank has the slots from `first` on. Logical names follow; weights are the caller's to move.
    ///
    /// # Panics
    /// When the layer is not held here or has no experts.
    pub fn place_experts(&mut self, layer: LayerId, experts: &[u32], first: usize) {
        let layers = self.stages.iter_mut().flat_map(|stage| stage.layers.iter_mut().chain(&mut stage.mtp));
        let mut n_local = 0;
        for held in layers.filter(|held| held.id == layer.0) {
            let moe = held.moe.as_mut().expect("a layer with experts");
            moe.place(experts);
            n_local = moe.n_local();
        }
        let base = format!("model.layers.{}.mlp.experts", layer.0);
        self.store.rename_experts(&base, &experts[first..first + n_local]);
    }

    /// The stacks of the experts of a layer, as places in [`StageModel::parameters`].
    ///
    /// # Panics
    /// Likewise.
    pub fn expert_stacks(&self, layer: LayerId) -> [usize; 2] {
        ["gate_up", "down"].map(|stack| self.store.place(&format!("model.layers.{}.mlp.experts.{stack}", layer.0)))
    }

    /// Experts take turns from now on, whatever the gates say: for benchmarks.
    pub fn take_turns(&mut self) {
        let layers = self.stages.iter_mut().flat_map(|stage| stage.layers.iter_mut().chain(&mut stage.mtp));
        layers.filter_map(|layer| layer.moe.as_mut()).for_each(|moe| moe.set_choice(Choice::Turns));
    }

    /// Backward computes norms, up-projections of attention and SwiGLU again from now on, rather than keep them
    /// (arXiv 2412.19437, §3.2.3). Results are the same, bit for bit.
    pub fn recompute(&mut self) {
        self.recomputes = true;
    }

    /// Runs the stage, or the first of several. With all weights zero nothing is kept for backward.
    ///
    /// # Errors
    /// When LibTorch refuses or the exchange fails.
    ///
    /// # Panics
    /// When a stage that embeds gets a stream, or one that does not gets none.
    pub fn forward(
        &self,
        input: StageInput<'_>,
        weights: &LossWeights,
        exchange: &dyn ExpertExchange,
    ) -> Result<StageForward, ModelError> {
        self.forward_of(0, input, weights, exchange)
    }

    /// Likewise the stage at that place among those that the rank holds.
    ///
    /// # Errors
    /// Likewise.
    ///
    /// # Panics
    /// Likewise, and when there is no such stage.
    pub fn forward_of(
        &self,
        place: usize,
        input: StageInput<'_>,
        weights: &LossWeights,
        exchange: &dyn ExpertExchange,
    ) -> Result<StageForward, ModelError> {
        self.passed(&self.stages[place], input, weights, exchange, &mut |_| ())
    }

    /// [`StageModel::forward`] that shows what it sees on its way.
    ///
    /// # Errors
    /// Likewise.
    ///
    /// # Panics
    /// Likewise.
    pub fn forward_watched<'a>(
        &self,
        input: StageInput<'_>,
        weights: &'a LossWeights,
        exchange: &'a dyn ExpertExchange,
        watch: &'a mut Watch<'a>,
    ) -> Result<StageForward, ModelError> {
        self.passed(self.only(), input, weights, exchange, watch)
    }

    fn passed<'a>(
        &self,
        stage: &Stage,
        input: StageInput<'_>,
        weights: &'a LossWeights,
        exchange: &'a dyn ExpertExchange,
        watch: &'a mut Watch<'a>,
    ) -> Result<StageForward, ModelError> {
        if *weights == LossWeights::default() {
            no_grad(|| alone(self.run(stage, input, weights, exchange, watch, Tape::forgetful())))
        } else {
            alone(self.run(stage, input, weights, exchange, watch, self.tape()))
        }
    }

    /// A tape that will be walked back.
    fn tape(&self) -> Tape {
        if self.recomputes { Tape::recomputing() } else { Tape::default() }
    }

    /// A forward pass of one microbatch through the stage at `place`, and the backward pass of another one through any of
    /// them, in turns: while rows of one are on their way, the other computes. Weights' gradients wait in `put_off`, if it
    /// is given; `tell` hears of every turn. Results are those of [`StageModel::forward_of`] and [`StageModel::backward`], bit for bit.
    ///
    /// # Errors
    /// When LibTorch refuses or the exchange fails.
    ///
    /// # Panics
    /// As [`StageModel::forward_of`].
    pub fn forward_beside_backward(
        &self,
        (place, input, weights): (usize, StageInput<'_>, &LossWeights),
        (saved, output_gradient): (Saved, Option<Tensor>),
        (gradients, put_off): (&mut Gradients, Option<&mut WeightWork>),
        (exchange, tell): (&dyn ExpertExchange, &mut dyn FnMut(Turn)),
    ) -> Result<(StageForward, Option<Tensor>), ModelError> {
        let watch: &mut Watch<'_> = &mut |_| ();
        let forward = self.run(&self.stages[place], input, weights, exchange, watch, self.tape());
        in_turns(forward, saved.back(output_gradient, Walk { gradients, exchange, put_off }), tell)
    }

    /// Walks a forward pass of any of its stages back. `output_gradient` is that of the stream given to the next stage;
    /// the result is that of the stream that came in.
    ///
    /// # Errors
    /// When LibTorch refuses or the exchange fails.
    pub fn backward(
        &self,
        saved: Saved,
        output_gradient: Option<Tensor>,
        gradients: &mut Gradients,
        exchange: &dyn ExpertExchange,
    ) -> Result<Option<Tensor>, ModelError> {
        alone(saved.back(output_gradient, Walk { gradients, exchange, put_off: None }))
    }

    /// Likewise, but the gradients of what projections multiply by wait: what is left to do comes with the result. Those
    /// of the gate, of norms and of the embedding do not wait, since they cost next to nothing.
    ///
    /// # Errors
    /// Likewise.
    pub fn backward_input(
        &self,
        saved: Saved,
        output_gradient: Option<Tensor>,
        gradients: &mut Gradients,
        exchange: &dyn ExpertExchange,
    ) -> Result<(Option<Tensor>, WeightWork), ModelError> {
        let mut left = WeightWork::default();
        let of_input = alone(saved.back(output_gradient, Walk { gradients, exchange, put_off: Some(&mut left) }))?;
        Ok((of_input, left))
    }

    async fn run<'a>(
        &self,
        stage: &Stage,
        input: StageInput<'_>,
        weights: &'a LossWeights,
        exchange: &'a dyn ExpertExchange,
        watch: &'a mut Watch<'a>,
        tape: Tape,
    ) -> Result<StageForward, ModelError> {
        let StageInput { microbatch, hidden } = input;
        assert_eq!(hidden.is_none(), stage.part.embeds, "a stage embeds or gets a stream");
        let share = exchange.sequences().map_or(SequenceShare::WHOLE, SequenceExchange::share);
        let t = microbatch.ids_bt.size()[1] * share.n as i64;
        let rope = Rc::new(Rope::new(&self.config.attention, t, self.precision.kind, self.device));
        let angles = Rc::new(Angles::of(rope, share, self.device));
        let (seeds, losses, loads) = Default::default();
        let mut pass = Pass { tape, angles, weights, exchange, watch, seeds, losses, loads };
        let stream_in = hidden.map(|hidden| (pass.tape.value(), hidden));
        let input = stream_in.as_ref().map(|(value, _)| *value);
        let mut h = match stream_in {
            Some(stream) => stream,
            None => self.embed(&mut pass, &microbatch.ids_bt)?,
        };
        let counts = microbatch.targets_bt.ne(IGNORED).reshape([-1]);
        for layer in &stage.layers {
            h = self.layer(layer, &mut pass, &h, &counts).await?;
        }
        let (output, stream_out) = if stage.part.scores {
            self.score(&stage.mtp, &mut pass, &h, microbatch).await?;
            (None, None)
        } else {
            (Some(h.0), Some(h.1))
        };
        let Pass { tape, seeds, losses, loads, .. } = pass;
        Ok(StageForward { output: stream_out, saved: Saved { tape, seeds, input, output }, losses, loads })
    }

    fn embed(&self, pass: &mut Pass<'_>, ids_bt: &Tensor) -> Result<(Value, Tensor), ModelError> {
        let [h] = pass.tape.graph(&[], vec![self.store.leaf(EMBEDDING)], |_, leaves| {
            Ok([Tensor::embedding(&leaves[0].tensor, ids_bt, -1, false, false)])
        })?;
        (pass.watch)(Seen::Embedded(&h.1));
        Ok(h)
    }

    async fn layer(
        &self,
        layer: &Layer,
        pass: &mut Pass<'_>,
        h: &(Value, Tensor),
        counts: &Tensor,
    ) -> Result<(Value, Tensor), ModelError> {
        let attends = (&pass.angles, pass.exchange.sequences());
        let h = layer.attention.forward(&mut pass.tape, &self.store, h, attends).await?;
        (pass.watch)(Seen::Attended(LayerId(layer.id), &h.1));
        let h = match &layer.moe {
            Some(moe) => self.experts(moe, pass, &h, counts).await?,
            None => self.dense(layer.id, pass, &h)?,
        };
        (pass.watch)(Seen::Left(LayerId(layer.id), &h.1));
        pass.tape.let_go()?;
        Ok(h)
    }

    async fn experts(
        &self,
        moe: &Moe,
        pass: &mut Pass<'_>,
        h: &(Value, Tensor),
        counts: &Tensor,
    ) -> Result<(Value, Tensor), ModelError> {
        let done = moe.forward(&mut pass.tape, &self.store, h, counts, pass.exchange).await?;
        (pass.watch)(Seen::Chosen(moe.layer(), &done.chosen));
        let [of_sequences, of_all] = &done.balance;
        pass.losses.balance.0 += of_sequences.1.double_value(&[]);
        // Ranks that share sequences count a share of each.
        let n_sharers = pass.exchange.sequences().map_or(1, |sequences| sequences.share().n);
        pass.losses.balance.1 += h.1.size()[0] as f64 / n_sharers as f64;
        pass.seed(of_sequences, pass.weights.balance);
        pass.seed(of_all, pass.weights.batch_balance);
        pass.loads.push((moe.layer(), done.load));
        Ok(done.hidden)
    }

    fn dense(&self, layer: u32, pass: &mut Pass<'_>, h: &(Value, Tensor)) -> Result<(Value, Tensor), ModelError> {
        let leaf = |name: &str| self.store.leaf(&format!("model.layers.{layer}.{name}"));
        let x = self.norm(&mut pass.tape, leaf("post_attention_layernorm.weight"), h)?;
        let leaves = vec![leaf("mlp.gate_up"), leaf("mlp.down_proj.weight")];
        let [h] = pass.tape.graph(&[h, &x], leaves, |inputs, w| {
            let y = feed_forward(&inputs[1], &w[0].tensor, &w[1].tensor, self.precision.products)?;
            Ok([&inputs[0] + y])
        })?;
        Ok(h)
    }

    fn norm(&self, tape: &mut Tape, weight: Leaf, h: &(Value, Tensor)) -> Result<(Value, Tensor), ModelError> {
        let eps = self.config.norm_eps;
        let [x] = tape.cheap(&[h], vec![weight], move |inputs, w| Ok([rms_norm(&inputs[0], &w[0].tensor, eps)?]))?;
        Ok(x)
    }
}

impl Pass<'_> {
    /// Lets a sum take part in the loss.
    fn seed(&mut self, sum: &(Value, Tensor), weight: f64) {
        if weight != 0.0 {
            self.seeds.push((sum.0, sum.1.full_like(weight)));
        }
    }
}
