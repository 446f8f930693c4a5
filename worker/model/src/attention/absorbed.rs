//! The same attention over compressed keys and values (arXiv 2405.04434, §2.1.2): the up-projection of keys goes into
//! the query and that of values into the output, so keys and values of the past are never expanded.
//!
//! Shapes: b sequences, t new tokens of each, s slots of the past, h heads, c compressed key and value with the shared
//! rotated key behind it (512 + 64 in DeepSeek-V3).

use tch::{Kind, Tensor};

use super::{Attention, LATENT_EPS};
use crate::ModelError;
use crate::norm::rms_norm;
use crate::rope::Rope;
use crate::tape::Leaf;

impl Attention {
    /// All that later tokens need of these, `[b, t, c]`. `rope` stands at their positions.
    pub(crate) fn latent(&self, h: &Tensor, leaves: &[Leaf], rope: &Rope) -> Result<Tensor, ModelError> {
        let x = rms_norm(h, &leaves[0].tensor, self.eps)?;
        let (rank, rotated) = (i64::from(self.config.kv_lora_rank), i64::from(self.config.qk_rope_dim));
        let parts = self.products.linear(&x, &leaves[1].tensor)?.split_with_sizes([rank, rotated], -1);
        let compressed = rms_norm(&parts[0], &leaves[2].tensor, LATENT_EPS)?;
        Ok(Tensor::cat(&[compressed, rope.rotate(&parts[1].unsqueeze(2)).squeeze_dim(2)], -1))
    }

    /// h + attention of its norm, `[b, t, d]`. The past, `[b, s, c]`, holds the latents of these tokens too;
    /// `visible_bts` says who sees whom.
    pub(crate) fn absorbed(
        &self,
        h: &Tensor,
        leaves: &[Leaf],
        rope: &Rope,
        past_bsc: &Tensor,
        visible_bts: &Tensor,
    ) -> Result<Tensor, ModelError> {
        let w: Vec<&Tensor> = leaves.iter().map(|leaf| &leaf.tensor).collect();
        let c = &self.config;
        let [heads, nope, rotated, v] = [c.n_heads, c.qk_nope_dim, c.qk_rope_dim, c.v_head_dim].map(i64::from);
        let rank = i64::from(c.kv_lora_rank);
        let (b, t, _) = h.size3().expect("a stream is sequences × tokens × width");
        let up = w[3].to_kind(h.kind()).view([heads, nope + v, rank]).split_with_sizes([nope, v], 1);

        let q = self.query(&rms_norm(h, w[0], self.eps)?, &w[5..], rope)?.split_with_sizes([nope, rotated], -1);
        let q = Tensor::cat(&[&q[0].matmul(&up[0]), &q[1]], -1).view([b, heads * t, rank + rotated]);
        let scale = f64::from(c.qk_dim()).powf(-0.5) * c.rope.logit_scale();
        let wide = if h.kind() == Kind::Double { Kind::Double } else { Kind::Float };
        let scores = (q.bmm(&past_bsc.transpose(1, 2)).to_kind(wide) * scale).view([b, heads, t, -1]);
        let scores = scores.masked_fill(&visible_bts.unsqueeze(1).logical_not(), f64::NEG_INFINITY);
        let weights = scores.softmax(-1, wide).to_kind(h.kind()).view([b, heads * t, -1]);

        let mixed = weights.bmm(&past_bsc.narrow(-1, 0, rank)).view([b, heads, t, rank]);
        let o = mixed.matmul(&up[1].transpose(1, 2)).transpose(1, 2).reshape([b, t, heads * v]);
        Ok(h + self.products.linear(&o, w[4])?)
    }
}
