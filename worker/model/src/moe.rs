//! DeepSeekMoE (arXiv 2412.19437, equations 12 to 20): gate, dispatch, experts, combine. No token is dropped.

mod summed;

use std::rc::Rc;

use ds_arch::{LayerId, ModelConfig, MoeConfig};
use ds_kernels::fp8::{self, ScaleRule};
use ds_kernels::fused::{self, Experts, Permutation};
use tch::{Device, Tensor};

use crate::exchange::{Arrival, ExpertExchange, Route};
use crate::feed_forward::feed_forward;
use crate::gate::{Choice, Chosen, balance_of_share, choose, loads, unbiased_choices};
use crate::norm::rms_norm;
use crate::parameters::Store;
use crate::tape::{Leaf, Tape, Value, Walk};
use crate::turns::arrived;
use crate::{ModelError, Precision, Products};

use summed::Choices;

/// The experts of one layer, and its gate.
pub(crate) struct Moe {
    config: MoeConfig,
    hidden: i64,
    eps: f64,
    base: String,
    n_local: i64,
    layer: LayerId,
    bias: Tensor,
    products: Products,
    choice: Choice,
    /// The slot of every expert, `[e]`; none where that is its number.
    slots: Option<Tensor>,
}

/// What a layer's experts did with a microbatch.
pub(crate) struct MoeForward {
    pub(crate) hidden: (Value, Tensor),
    /// Sums over sequences, and of the microbatch as a whole.
    pub(crate) balance: [(Value, Tensor); 2],
    pub(crate) load: Vec<f64>,
    pub(crate) chosen: Chosen,
}

/// Where rows stand on their way, and where they go.
struct Rows {
    route: Route,
    permutation: Permutation,
}

impl Moe {
    pub(crate) fn new(config: &ModelConfig, layer: u32, n_local: u32, precision: Precision, device: Device) -> Self {
        Self {
            config: config.moe.clone(),
            hidden: config.hidden_size.into(),
            eps: config.norm_eps,
            base: format!("model.layers.{layer}"),
            n_local: n_local.into(),
            layer: LayerId(layer),
            bias: Tensor::zeros([i64::from(config.moe.n_experts)], (precision.wide(), device)),
            products: precision.products,
            choice: Choice::Gate,
            slots: None,
        }
    }

    /// From now on slot s holds expert `experts[s]`; slots lie on the ranks in runs, as experts did.
    pub(crate) fn place(&mut self, experts: &[u32]) {
        let mut slots = vec![0_i64; experts.len()];
        for (slot, &expert) in (0..).zip(experts) {
            slots[expert as usize] = slot;
        }
        self.slots = Some(Tensor::from_slice(&slots).to_device(self.bias.device()));
    }

    /// Where the chosen experts are, `[n, k]`.
    fn slots_of(&self, experts: &Tensor) -> Tensor {
        match &self.slots {
            Some(slots) => slots.index_select(0, &experts.reshape([-1])).view_as(experts),
            None => experts.shallow_clone(),
        }
    }

    pub(crate) fn set_choice(&mut self, choice: Choice) {
        self.choice = choice;
    }

    pub(crate) fn bias(&self) -> (LayerId, Tensor) {
        (self.layer, self.bias.shallow_clone())
    }

    /// Experts that this rank holds.
    pub(crate) fn n_local(&self) -> usize {
        self.n_local as usize
    }

    pub(crate) fn layer(&self) -> LayerId {
        self.layer
    }

    /// h + experts of its norm. `counts`, `[n]`, says which tokens count in the load.
    pub(crate) async fn forward(
        &self,
        tape: &mut Tape,
        store: &Store,
        h: &(Value, Tensor),
        counts: &Tensor,
        exchange: &dyn ExpertExchange,
    ) -> Result<MoeForward, ModelError> {
        let [norm, gate] = self.gate_leaves(store);
        let (eps, hidden, wide) = (self.eps, self.hidden, self.bias.kind());
        let [x, widened] = tape.cheap(&[h], vec![norm], move |inputs, w| {
            let x = rms_norm(&inputs[0], &w[0].tensor, eps)?.view([-1, hidden]);
            let widened = x.to_kind(wide);
            Ok([x, widened])
        })?;
        let (n_sequences, mut chosen) = (h.1.size()[0], None);
        let [weights, of_sequences, of_all] = tape.graph(&[&widened], vec![gate], |inputs, leaves| {
            let gate = choose(&self.config, &inputs[0], &leaves[0].tensor, &self.bias, self.choice);
            let choices = unbiased_choices(&self.config, &gate.scores);
            let balance = |b| balance_of_share(&self.config, &gate.scores, &choices, b, exchange.sequences());
            let outputs = [gate.weights.shallow_clone(), balance(n_sequences)?, balance(1)?];
            chosen = Some(gate);
            Ok(outputs)
        })?;
        let chosen = chosen.expect("the gate has run");
        let load = Vec::<f64>::try_from(loads(&self.config, &chosen.experts, counts))?;
        let slots = self.slots_of(&chosen.experts);
        let choices = Choices { slots: &slots, weights: &weights };
        let hidden = match exchange.summing() {
            None => self.in_rows(tape, store, (h, &x), &choices, exchange).await?,
            Some(summing) => self.summed(tape, store, (h, &x), &choices, summing).await?,
        };
        Ok(MoeForward { hidden, balance: [of_sequences, of_all], load, chosen })
    }

    /// h, the shared experts and the weighed sum of the chosen ones, of the normed tokens `x`, `[n, d]`: a row goes to
    /// each choice and comes back, and is weighed at home.
    async fn in_rows(
        &self,
        tape: &mut Tape,
        store: &Store,
        (h, x): (&(Value, Tensor), &(Value, Tensor)),
        choices: &Choices<'_>,
        exchange: &dyn ExpertExchange,
    ) -> Result<(Value, Tensor), ModelError> {
        let permutation = Permutation::new(choices.slots, i64::from(self.config.n_experts), &x.1)?;
        let route = arrived(exchange.route(permutation.counts.clone())?).await?;
        let rows = Rc::new(Rows { route, permutation });

        let sent = rows.permutation.spread(&x.1)?;
        let arrival = exchange.dispatch(&rows.route, &sent)?;
        // While rows are on their way.
        let base = self.shared(tape, store, h, x)?;
        let way = rows.clone();
        let came = arrived(arrival).await?;
        let came = tape.moved(x.0, came, Box::new(move |g, exchange| way.tokens_back(&g, exchange)));
        let out = self.experts(tape, store, &came, &rows.route.arrived)?;
        let back = arrived(exchange.combine(&rows.route, &out.1)?).await?;
        let way = rows.clone();
        let back = tape.moved(out.0, back, Box::new(move |g, exchange| exchange.dispatch(&way.route, &g)));

        let place = &rows.permutation.place;
        let [hidden] = tape.graph(&[&base, &back, choices.weights], Vec::new(), |inputs, _| {
            // In the order of the choices, so that the sum is the same on every grid.
            let h = inputs[0].reshape([-1, self.hidden]);
            Ok([fused::combine(&h, &inputs[1], place, &inputs[2])?.view_as(&inputs[0])])
        })?;
        Ok(hidden)
    }

    /// h plus the shared experts, if there are any.
    fn shared(
        &self,
        tape: &mut Tape,
        store: &Store,
        h: &(Value, Tensor),
        x: &(Value, Tensor),
    ) -> Result<(Value, Tensor), ModelError> {
        if self.config.n_shared == 0 {
            return Ok((h.0, h.1.shallow_clone()));
        }
        let base = format!("{}.mlp.shared_experts", self.base);
        let leaves = vec![store.leaf(&format!("{base}.gate_up")), store.leaf(&format!("{base}.down_proj.weight"))];
        let [sum] = tape.graph(&[h, x], leaves, |inputs, leaves| {
            let y = feed_forward(&inputs[1], &leaves[0].tensor, &leaves[1].tensor, self.products)?;
            Ok([&inputs[0] + y.view_as(&inputs[0])])
        })?;
        Ok(sum)
    }

    /// The local experts over the rows that arrived, `counts` for each of them.
    fn experts(
        &self,
        tape: &mut Tape,
        store: &Store,
        arrived: &(Value, Tensor),
        counts: &[i64],
    ) -> Result<(Value, Tensor), ModelError> {
        if self.products == Products::Plain && arrived.1.device() == Device::Cpu {
            return self.experts_at_once(tape, store, arrived, counts);
        }
        let [gate_up, down] = self.stacks(store);
        if self.products == Products::Plain && fused::groups(&arrived.1, &down.tensor) {
            let [out] = tape.graph(&[arrived], vec![gate_up, down], |inputs, leaves| {
                Ok([fused::grouped_experts(&inputs[0], &leaves[0].tensor, &leaves[1].tensor, counts)?])
            })?;
            return Ok(out);
        }
        if let Products::Fp8(rule) = self.products
            && fp8::groups(&arrived.1, &down.tensor)
        {
            return self.experts_by_codes(tape, arrived, [gate_up, down], counts, rule);
        }
        let [out] = tape.graph(&[arrived], self.expert_leaves(store, counts), |inputs, leaves| {
            Ok([self.experts_in_turn(&inputs[0], leaves, counts)?])
        })?;
        Ok(out)
    }

    /// Threads share the experts.
    fn experts_at_once(
        &self,
        tape: &mut Tape,
        store: &Store,
        (value, x): &(Value, Tensor),
        counts: &[i64],
    ) -> Result<(Value, Tensor), ModelError> {
        let [gate_up, down] = self.stacks(store);
        let weights = Experts::new(&gate_up.tensor, &down.tensor, counts)?;
        let (y, both) = fused::experts(x, &weights)?;
        let (x, places) = (x.shallow_clone(), [gate_up.gradient.0, down.gradient.0]);
        let back = move |g: Tensor, walk: &mut Walk<'_>| {
            let Some(later) = &mut walk.put_off else {
                let sums = places.map(|place| walk.gradients.sum(place));
                return Ok(fused::experts_backward(&g, &x, &both, &weights, sums)?);
            };
            let back = fused::experts_backward_inputs(&g, &both, &weights)?;
            let dx = back.dx.shallow_clone();
            later.push(move |gradients| {
                let sums = places.map(|place| gradients.sum(place));
                Ok(fused::experts_backward_weights(&g, &x, &back, &weights, sums)?)
            });
            Ok(dx)
        };
        Ok(tape.written(*value, y, Box::new(back)))
    }

    /// All experts at once on a card that multiplies codes.
    fn experts_by_codes(
        &self,
        tape: &mut Tape,
        (value, x): &(Value, Tensor),
        [gate_up, down]: [Leaf; 2],
        counts: &[i64],
        rule: ScaleRule,
    ) -> Result<(Value, Tensor), ModelError> {
        let (y, kept) = fp8::experts(x, &gate_up.tensor, &down.tensor, counts, rule)?;
        let places = [gate_up.gradient.0, down.gradient.0];
        let back = move |g: Tensor, walk: &mut Walk<'_>| {
            let (dx, dboth) = fp8::experts_backward_inputs(&g, &kept)?;
            walk.weights(move |gradients| {
                let sums = places.map(|place| gradients.taken_over(place));
                Ok(fp8::experts_backward_weights(&g, &dboth, &kept, sums)?)
            })?;
            Ok(dx)
        };
        Ok(tape.written(*value, y, Box::new(back)))
    }

    /// Expert after expert.
    fn experts_in_turn(&self, arrived: &Tensor, leaves: &[Leaf], counts: &[i64]) -> Result<Tensor, ModelError> {
        let busy: Vec<i64> = counts.iter().copied().filter(|&n| n > 0).collect();
        if busy.is_empty() {
            return Ok(arrived.shallow_clone());
        }
        let parts = arrived.split_with_sizes(busy.as_slice(), 0);
        let expert = |(x, w): (&Tensor, &[Leaf])| feed_forward(x, &w[0].tensor, &w[1].tensor, self.products);
        let outputs: Vec<Tensor> = parts.iter().zip(leaves.chunks(2)).map(expert).collect::<Result<_, _>>()?;
        Ok(Tensor::cat(&outputs, 0))
    }

    /// The weights of all local experts, `[2e, n, d]` and `[e, d, n]`.
    fn stacks(&self, store: &Store) -> [Leaf; 2] {
        ["gate_up", "down"].map(|name| store.leaf(&format!("{}.mlp.experts.{name}", self.base)))
    }

    /// Two leaves for every local expert that got rows.
    fn expert_leaves(&self, store: &Store, counts: &[i64]) -> Vec<Leaf> {
        let (inner, d) = (i64::from(self.config.expert_hidden), self.hidden);
        let base = format!("{}.mlp.experts", self.base);
        let (gate_up, down) = (format!("{base}.gate_up"), format!("{base}.down"));
        (0..self.n_local)
            .zip(counts)
            .filter(|&(_, &n)| n > 0)
            .flat_map(|(i, _)| {
                let both = store.rows(&gate_up, 2 * i..2 * i + 2, &[2, inner, d]);
                [both, store.rows(&down, i..i + 1, &[d, inner])]
            })
            .collect()
    }

    /// Of the norm before the gate, and of the gate.
    fn gate_leaves(&self, store: &Store) -> [Leaf; 2] {
        ["post_attention_layernorm", "mlp.gate"].map(|name| store.leaf(&format!("{}.{name}.weight", self.base)))
    }
}

impl Rows {
    /// Starts gradients of arrived rows on their way home, where they become gradients of tokens, `[n, d]`.
    fn tokens_back<'e>(
        self: Rc<Self>,
        gradient: &Tensor,
        exchange: &'e dyn ExpertExchange,
    ) -> Result<Arrival<'e>, ModelError> {
        let arrival = exchange.combine(&self.route, gradient)?;
        Ok(Box::new(move || Ok(self.permutation.gather(&arrival()?)?)))
    }
}
