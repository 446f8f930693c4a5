//! The numbers of a DeepSeek-V3-style model (arXiv 2412.19437, §2.1 and §4.2).

use serde::{Deserialize, Serialize};

/// A decoder of MLA and DeepSeekMoE layers, the first few of them dense.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Rows of the embedding and of the output head.
    pub vocab_size: u32,
    /// Width of the residual stream, d.
    pub hidden_size: u32,
    /// Decoder layers, without MTP.
    pub n_layers: u32,
    /// The first layers, which have a dense feed-forward network.
    pub n_dense_layers: u32,
    /// Inner width of the dense feed-forward network.
    pub dense_hidden: u32,
    /// Multi-head latent attention.
    pub attention: AttentionConfig,
    /// The mixture of experts of all other layers.
    pub moe: MoeConfig,
    /// Multi-token prediction.
    pub mtp: MtpConfig,
    /// Epsilon of every RMSNorm.
    pub norm_eps: f64,
    /// Standard deviation of initial weights.
    pub init_std: f64,
}

/// Multi-head latent attention (equations 1 to 11).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionConfig {
    /// Heads.
    pub n_heads: u32,
    /// Width of the compressed query; without it, queries are projected directly.
    pub q_lora_rank: Option<u32>,
    /// Width of the compressed key and value.
    pub kv_lora_rank: u32,
    /// Width of a head's query and key without position.
    pub qk_nope_dim: u32,
    /// Width of a head's query, and of the shared key, that carry the rotary position. Even.
    pub qk_rope_dim: u32,
    /// Width of a head's value.
    pub v_head_dim: u32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Longest sequence.
    pub max_positions: u32,
}

impl AttentionConfig {
    /// Width of a head's whole query or key.
    pub fn qk_dim(&self) -> u32 {
        self.qk_nope_dim + self.qk_rope_dim
    }
}

/// DeepSeekMoE (equations 12 to 20).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoeConfig {
    /// Routed experts of a layer.
    pub n_experts: u32,
    /// Shared experts of a layer; they are one network of `n_shared · expert_hidden` inside.
    pub n_shared: u32,
    /// Routed experts that a token goes to.
    pub top_k: u32,
    /// Inner width of one expert.
    pub expert_hidden: u32,
    /// Which groups of experts a token may choose from.
    pub groups: GroupLimit,
    /// How logits become affinities.
    pub score: GateScore,
    /// Whether the chosen affinities are divided by their sum.
    pub normalise: bool,
    /// Factor on the chosen weights.
    pub route_scale: f64,
}

/// Node-limited routing: the groups that one token's experts may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupLimit {
    /// No limit.
    AnyGroup,
    /// Experts lie in `n_groups` equal runs; a token picks `picked` of them by the sum of its two best biased scores.
    AtMost {
        /// Equal runs of experts.
        n_groups: u32,
        /// Runs that one token may choose from.
        picked: u32,
    },
}

/// How the gate's logits become affinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GateScore {
    /// DeepSeek-V3.
    Sigmoid,
    /// DeepSeek-V2.
    Softmax,
}

/// Multi-token prediction (equations 21 to 25).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MtpConfig {
    /// Further tokens that are predicted; 0 for none.
    pub depth: u32,
    /// What of the main model the first module reads.
    pub input: MtpInput,
}

/// The hidden state that an MTP module reads; published implementations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MtpInput {
    /// The residual stream before the final norm.
    PreNorm,
    /// The output of the final norm.
    PostNorm,
}

impl ModelConfig {
    /// Whether a layer's feed-forward network is a mixture of experts; MTP layers are.
    pub fn is_moe(&self, layer: crate::LayerId) -> bool {
        layer.0 >= self.n_dense_layers
    }

    /// Every layer that has experts, MTP layers included.
    pub fn moe_layers(&self) -> impl Iterator<Item = crate::LayerId> + use<> {
        (self.n_dense_layers.min(self.n_layers)..self.n_layers + self.mtp.depth).map(crate::LayerId)
    }
}
