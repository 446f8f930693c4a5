//! Multi-head latent attention (arXiv 2412.19437, equations 1 to 11).

mod absorbed;

use std::ops::Range;
use std::rc::Rc;

use ds_arch::{AttentionConfig, ModelConfig};
use ds_kernels::fused::widens;
use tch::{Kind, Tensor};

use crate::norm::rms_norm;
use crate::parameters::Store;
use crate::rope::Rope;
use crate::sequence::{Angles, sharing};
use crate::tape::{Leaf, Tape, Value};
use crate::turns::arrived;
use crate::{ModelError, Products, SequenceExchange};

/// Epsilon of the norms of compressed queries, keys and values, whatever the model's other norms have: released code
/// never sets it.
const LATENT_EPS: f64 = 1e-6;

/// The attention of one layer.
pub(crate) struct Attention {
    config: AttentionConfig,
    eps: f64,
    base: String,
    products: Products,
}

impl Attention {
    pub(crate) fn new(config: &ModelConfig, layer: u32, products: Products) -> Self {
        let base = format!("model.layers.{layer}");
        Self { config: config.attention.clone(), eps: config.norm_eps, base, products }
    }

    pub(crate) fn leaves(&self, store: &Store) -> Vec<Leaf> {
        let query: &[&str] = match self.config.q_lora_rank {
            Some(_) => &["self_attn.q_a_proj", "self_attn.q_a_layernorm", "self_attn.q_b_proj"],
            None => &["self_attn.q_proj"],
        };
        let key_value =
            ["self_attn.kv_a_proj_with_mqa", "self_attn.kv_a_layernorm", "self_attn.kv_b_proj", "self_attn.o_proj"];
        let names = ["input_layernorm"].iter().chain(&key_value).chain(query);
        names.map(|name| store.leaf(&format!("{}.{name}.weight", self.base))).collect()
    }

    /// h + attention of its norm; `[b, t, d]` to `[b, t, d]`. Norms and up-projections are cheap to run again.
    /// Where ranks share sequences, they gather the latents of keys and values.
    pub(crate) async fn forward(
        self: &Rc<Self>,
        tape: &mut Tape,
        store: &Store,
        h: &(Value, Tensor),
        (angles, sequences): (&Rc<Angles>, Option<&dyn SequenceExchange>),
    ) -> Result<(Value, Tensor), ModelError> {
        let mut leaves = self.leaves(store);
        let mut query = leaves.split_off(5);
        let [norm, down, latent_norm, up, out] =
            <[Leaf; 5]>::try_from(leaves).map_err(|_| ()).expect("attention has five weights besides the query's");
        let (eps, products) = (self.eps, self.products);
        let [x] = tape.cheap(&[h], vec![norm], move |inputs, w| Ok([rms_norm(&inputs[0], &w[0].tensor, eps)?]))?;
        let project = |inputs: &[Tensor], w: &[Leaf]| Ok([products.linear(&inputs[0], &w[0].tensor)?]);
        let [mut compressed] = tape.graph(&[&x], vec![down], project)?;
        if let Some(sequences) = sequences {
            let all = arrived(sequences.gather(&compressed.1)?).await?;
            compressed = tape.moved(compressed.0, all, Box::new(|g, exchange| sharing(exchange).sum_shares(&g)));
        }
        // The query's latent, or what the one projection reads.
        let source = if query.len() == 1 {
            (x.0, x.1.shallow_clone())
        } else {
            let [latent] = tape.graph(&[&x], vec![query.remove(0)], project)?;
            latent
        };
        let (this, own) = (self.clone(), angles.clone());
        let leaves = [latent_norm, up].into_iter().chain(query).collect();
        let [q, k, v] = tape.cheap(&[&compressed, &source], leaves, move |inputs, w| {
            let w: Vec<&Tensor> = w.iter().map(|leaf| &leaf.tensor).collect();
            let q = this.expand_query(&inputs[1], &w[2..], &own.queries)?;
            let (k, v) = this.expand(&inputs[0], w[0], w[1], &own.keys)?;
            Ok([q, k, v].map(widened))
        })?;
        let [h] = tape.graph(&[h, &q, &k, &v], vec![out], |inputs, w| {
            let [h, q, k, v] = inputs else { unreachable!("there are four inputs") };
            let o = match &angles.runs {
                None => self.attend(q, k, v, None),
                Some(runs) => self.attend_in_runs(q, k, v, runs),
            };
            Ok([h + self.project(&o.to_kind(h.kind()), &w[0].tensor)?])
        })?;
        Ok(h)
    }

    /// Attention, causal without a mask; `[b, heads, t, width]` each, and so is what it gives.
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let scale = f64::from(self.config.qk_dim()).powf(-0.5) * self.config.rope.logit_scale();
        Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, mask.is_none(), scale, false)
    }

    /// Likewise where the queries are those of some runs of positions, one after the other, and keys are all.
    fn attend_in_runs(&self, q: &Tensor, k: &Tensor, v: &Tensor, runs: &[Range<i64>]) -> Tensor {
        let mut first = 0;
        let run = |run: &Range<i64>| {
            let n = run.end - run.start;
            let seen = |all: &Tensor| all.narrow(2, 0, run.end);
            let mask = Tensor::ones([n, run.end], (Kind::Bool, q.device())).tril(run.start);
            let o = self.attend(&q.narrow(2, first, n), &seen(k), &seen(v), Some(&mask));
            first += n;
            o
        };
        Tensor::cat(&runs.iter().map(run).collect::<Vec<_>>(), 2)
    }

    /// The output's projection of what attention gave, `[b, heads, t, width]`: `[b, t, d]`.
    fn project(&self, o: &Tensor, out: &Tensor) -> Result<Tensor, ModelError> {
        let (b, _, t, _) = o.size4().expect("attention is sequences × heads × tokens × width");
        let width = i64::from(self.config.n_heads * self.config.v_head_dim);
        let o = o.narrow(-1, 0, self.config.v_head_dim.into()).transpose(1, 2).reshape([b, t, width]);
        self.products.linear(&o, out)
    }

    /// Queries from the stream's norm, for decoding; `[b, heads, t, qk]`.
    fn query(&self, x: &Tensor, w: &[&Tensor], rope: &Rope) -> Result<Tensor, ModelError> {
        match w {
            [down, others @ ..] if !others.is_empty() => {
                self.expand_query(&self.products.linear(x, down)?, others, rope)
            }
            direct => self.expand_query(x, direct, rope),
        }
    }

    /// `[b, heads, t, qk]` from the latent, or from what the one projection reads.
    fn expand_query(&self, source: &Tensor, w: &[&Tensor], rope: &Rope) -> Result<Tensor, ModelError> {
        let q = match w {
            [norm, up] => self.products.linear(&rms_norm(source, norm, LATENT_EPS)?, up)?,
            [direct] => self.products.linear(source, direct)?,
            _ => unreachable!("a query has one projection or a compressed one"),
        };
        let c = &self.config;
        let q = self.heads(&q, c.qk_dim());
        let parts = q.split_with_sizes([i64::from(c.qk_nope_dim), i64::from(c.qk_rope_dim)], -1);
        Ok(Tensor::cat(&[&parts[0], &rope.rotate(&parts[1])], -1).transpose(1, 2))
    }

    /// Keys and values of the latent with the shared key behind it, `[b, heads, t, qk]` both: values are padded with
    /// zeros to the width of keys, for which LibTorch has a fused kernel.
    fn expand(
        &self,
        compressed: &Tensor,
        norm: &Tensor,
        up: &Tensor,
        rope: &Rope,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let c = &self.config;
        let (rank, rope_dim, nope) = (i64::from(c.kv_lora_rank), i64::from(c.qk_rope_dim), i64::from(c.qk_nope_dim));
        let parts = compressed.split_with_sizes([rank, rope_dim], -1);
        let position = rope.rotate(&parts[1].unsqueeze(2));
        let latent = rms_norm(&parts[0], norm, LATENT_EPS)?;
        let up = self.heads(&self.products.linear(&latent, up)?, c.qk_nope_dim + c.v_head_dim);
        let up = up.split_with_sizes([nope, i64::from(c.v_head_dim)], -1);
        let mut shared = position.size();
        shared[2] = c.n_heads.into();
        let k = Tensor::cat(&[&up[0], &position.expand(&shared, false)], -1);
        let missing = i64::from(c.qk_dim()) - i64::from(c.v_head_dim);
        let v = if missing > 0 { up[1].constant_pad_nd([0, missing]) } else { up[1].shallow_clone() };
        Ok((k.transpose(1, 2), v.transpose(1, 2)))
    }

    /// `[b, t, heads · width]` as `[b, t, heads, width]`.
    fn heads(&self, x: &Tensor, width: u32) -> Tensor {
        let (b, t, _) = x.size3().expect("a stream is sequences × tokens × width");
        x.view([b, t, i64::from(self.config.n_heads), i64::from(width)])
    }
}

/// In the format that attention is computed in.
fn widened(x: Tensor) -> Tensor {
    if widens(&x) { x.to_kind(Kind::Float) } else { x }
}
