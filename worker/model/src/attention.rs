//! Multi-head latent attention (arXiv 2412.19437, equations 1 to 11).

mod absorbed;

use ds_arch::{AttentionConfig, ModelConfig};
use ds_kernels::fused::widens;
use tch::{Kind, Tensor};

use crate::norm::rms_norm;
use crate::parameters::Store;
use crate::rope::Rope;
use crate::tape::Leaf;
use crate::{ModelError, Products};

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

    /// h + attention of its norm; `[b, t, d]` to `[b, t, d]`.
    pub(crate) fn forward(&self, h: &Tensor, leaves: &[Leaf], rope: &Rope) -> Result<Tensor, ModelError> {
        let w: Vec<&Tensor> = leaves.iter().map(|leaf| &leaf.tensor).collect();
        let x = rms_norm(h, w[0], self.eps)?;
        let q = self.query(&x, &w[5..], rope)?;
        let (k, v) = self.key_value(&x, &w[1..4], rope)?;
        let scale = f64::from(self.config.qk_dim()).powf(-0.5) * self.config.rope.logit_scale();
        let o = attend(&q, &k, &v, scale);
        let (b, t, _) = h.size3().expect("a stream is sequences × tokens × width");
        let width = i64::from(self.config.n_heads * self.config.v_head_dim);
        let o = o.narrow(-1, 0, self.config.v_head_dim.into()).transpose(1, 2).reshape([b, t, width]);
        Ok(h + self.products.linear(&o, w[4])?)
    }

    /// `[b, heads, t, qk]`.
    fn query(&self, x: &Tensor, w: &[&Tensor], rope: &Rope) -> Result<Tensor, ModelError> {
        let q = match w {
            [a, norm, b] => {
                let latent = rms_norm(&self.products.linear(x, a)?, norm, LATENT_EPS)?;
                self.products.linear(&latent, b)?
            }
            [direct] => self.products.linear(x, direct)?,
            _ => unreachable!("a query has one projection or a compressed one"),
        };
        let c = &self.config;
        let q = self.heads(&q, c.qk_dim());
        let parts = q.split_with_sizes([i64::from(c.qk_nope_dim), i64::from(c.qk_rope_dim)], -1);
        Ok(Tensor::cat(&[&parts[0], &rope.rotate(&parts[1])], -1).transpose(1, 2))
    }

    /// `[b, heads, t, qk]` and `[b, heads, t, qk]`: values are padded with zeros to the width of keys, for which
    /// LibTorch has a fused kernel.
    fn key_value(&self, x: &Tensor, w: &[&Tensor], rope: &Rope) -> Result<(Tensor, Tensor), ModelError> {
        let [a, norm, b] = w else { unreachable!("keys and values have three weights") };
        let c = &self.config;
        let (rank, rope_dim, nope) = (i64::from(c.kv_lora_rank), i64::from(c.qk_rope_dim), i64::from(c.qk_nope_dim));
        let parts = self.products.linear(x, a)?.split_with_sizes([rank, rope_dim], -1);
        let position = rope.rotate(&parts[1].unsqueeze(2));
        let latent = rms_norm(&parts[0], norm, LATENT_EPS)?;
        let up = self.heads(&self.products.linear(&latent, b)?, c.qk_nope_dim + c.v_head_dim);
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

/// Causal attention, `[b, heads, t, width]` each.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Tensor {
    let attend = |q: &Tensor, k: &Tensor, v: &Tensor| {
        Tensor::scaled_dot_product_attention(q, k, v, None::<&Tensor>, 0.0, true, scale, false)
    };
    if !widens(q) {
        return attend(q, k, v);
    }
    let [q, k, v] = [q, k, v].map(|x| x.to_kind(Kind::Float));
    attend(&q, &k, &v).to_kind(Kind::BFloat16)
}
