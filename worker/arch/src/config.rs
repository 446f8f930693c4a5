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
    /// Epsilon of every RMSNorm but those of compressed queries, keys and values, which is 10⁻⁶ as in released code.
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
    /// Rotary positions.
    pub rope: RopeConfig,
    /// Longest sequence.
    pub max_positions: u32,
}

impl AttentionConfig {
    /// Width of a head's whole query or key.
    pub fn qk_dim(&self) -> u32 {
        self.qk_nope_dim + self.qk_rope_dim
    }
}

/// Rotary positions (arXiv 2104.09864), stretched by YaRN (arXiv 2309.00071) as DeepSeek-V3 does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub theta: f64,
    /// How many times longer sequences become; 1 for positions as they are, whatever the other fields say.
    pub factor: f64,
    /// Longest sequence before the stretch, in tokens.
    pub original_positions: u32,
    /// Turns within the original length from which a frequency stays as it is.
    pub beta_fast: f64,
    /// Turns within the original length up to which a frequency is divided by the factor.
    pub beta_slow: f64,
    /// Weight of the growth of cosines and sines with ln(factor).
    pub mscale: f64,
    /// Weight of the growth of all logits with ln(factor).
    pub mscale_all_dim: f64,
}

impl RopeConfig {
    /// Positions as they are. What YaRN would need has DeepSeek-V3's values.
    pub const fn plain(theta: f64) -> Self {
        let (original_positions, beta_fast, beta_slow) = (4096, 32.0, 1.0);
        Self { theta, factor: 1.0, original_positions, beta_fast, beta_slow, mscale: 1.0, mscale_all_dim: 1.0 }
    }

    /// Frequencies of the pairs of a rotary part of width `dim`, in radians a token, fastest first.
    ///
    /// A frequency that turns more than `beta_fast` times within the original length stays, one that turns less than
    /// `beta_slow` times is divided by the factor, and between them a ramp over the pairs leads from one to the other.
    pub fn frequencies(&self, dim: u32) -> Vec<f64> {
        let pairs = dim / 2;
        let turning = |turns: f64| {
            let length = f64::from(self.original_positions);
            f64::from(dim) * (length / (turns * std::f64::consts::TAU)).ln() / (2.0 * self.theta.ln())
        };
        let first = turning(self.beta_fast).floor().max(0.0);
        let last = turning(self.beta_slow).ceil().min(f64::from(dim) - 1.0);
        // As published: a ramp of no length becomes one of a thousandth.
        let length = if first == last { 0.001 } else { last - first };
        let frequency = |pair: u32| {
            let plain = self.theta.powf(-2.0 * f64::from(pair) / f64::from(dim));
            let divided = ((f64::from(pair) - first) / length).clamp(0.0, 1.0);
            plain * (1.0 - divided) + plain / self.factor * divided
        };
        (0..pairs).map(frequency).collect()
    }

    /// Factor on cosines and sines: 1 where both weights are equal.
    pub fn amplitude(&self) -> f64 {
        self.growth(self.mscale) / self.growth(self.mscale_all_dim)
    }

    /// Factor on the logits' usual 1/√width.
    pub fn logit_scale(&self) -> f64 {
        self.growth(self.mscale_all_dim).powi(2)
    }

    /// 0.1 · weight · ln(factor) + 1.
    fn growth(&self, weight: f64) -> f64 {
        if self.factor > 1.0 { 0.1 * weight * self.factor.ln() + 1.0 } else { 1.0 }
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
    /// What a group of experts is worth; it matters only under a limit of groups.
    pub group_score: GroupScore,
    /// How logits become affinities.
    pub score: GateScore,
    /// How the gate's bias takes part in the choice.
    pub bias: BiasUse,
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
    /// Experts lie in `n_groups` equal runs; a token picks `picked` of them by [`MoeConfig::group_score`].
    AtMost {
        /// Equal runs of experts.
        n_groups: u32,
        /// Runs that one token may choose from.
        picked: u32,
    },
}

/// What a group of experts is worth to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupScore {
    /// The sum of its two best biased scores (DeepSeek-V3).
    TwoBest,
    /// Its best score (DeepSeek-V2).
    Best,
}

/// How the gate's bias, which starts at zero, takes part in the choice of experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BiasUse {
    /// s + b.
    Added,
    /// s · (1 + b): the multiplicative variant of arXiv 2408.15664, whose bias of one is our bias of zero.
    Factor,
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
