//! A decoder in as few numbers as its cost needs: DeepSeek's, and the dense and sparse ones of others.

use ds_arch::{GroupLimit, ModelConfig};

/// How tokens look at each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Attention {
    /// Multi-head (as many keys as queries) or grouped-query attention.
    Grouped {
        /// Query heads.
        heads: u32,
        /// Key and value heads.
        kv_heads: u32,
        /// Width of a head.
        head_dim: u32,
    },
    /// Multi-head latent attention (arXiv 2412.19437, equations 1 to 11).
    Latent {
        /// Heads.
        heads: u32,
        /// Width of the compressed query.
        q_rank: Option<u32>,
        /// Width of the compressed key and value.
        kv_rank: u32,
        /// Width of a head's query and key without position.
        nope: u32,
        /// Width of what carries the position.
        rope: u32,
        /// Width of a head's value.
        value: u32,
    },
}

/// Layers that look back only so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Tokens that a token sees, itself included.
    pub tokens: u32,
    /// One layer of so many sees everything; 0 where none does.
    pub whole_every: u32,
}

/// A feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeedForward {
    /// Inner width.
    pub inner: u32,
    /// Whether a third matrix gates it (SwiGLU), or GELU stands between two.
    pub gated: bool,
}

/// A mixture of experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Experts {
    /// Routed ones of a layer.
    pub n: u32,
    /// That a token goes to.
    pub top_k: u32,
    /// Inner width of each.
    pub inner: u32,
    /// Inner width of all shared ones together.
    pub shared_inner: u32,
    /// Nodes that one token may go to, if that is limited.
    pub max_nodes: Option<u32>,
    /// Whether products have biases and the activation is clamped, each in passes of its own (GPT-OSS as Megatron Core
    /// trains it).
    pub biased: bool,
}

/// A decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Layers without MTP.
    pub layers: u32,
    /// The first of them, which are dense; all of them where there are no experts.
    pub dense_layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Rows of embedding and head.
    pub vocab: u32,
    /// How tokens look at each other.
    pub attention: Attention,
    /// How far back, where not all layers see the whole sequence.
    pub window: Option<Window>,
    /// Of dense layers.
    pub feed_forward: FeedForward,
    /// Of the others.
    pub experts: Option<Experts>,
    /// Further tokens that are predicted.
    pub mtp_depth: u32,
    /// Whether embedding and head are one matrix.
    pub tied: bool,
}

impl Network {
    /// A GPT: multi-head attention, GELU, learned positions, head tied to the embedding.
    pub fn gpt(layers: u32, hidden: u32, heads: u32, inner: u32, vocab: u32) -> Self {
        Self {
            layers,
            dense_layers: layers,
            hidden,
            vocab,
            attention: Attention::Grouped { heads, kv_heads: heads, head_dim: hidden / heads.max(1) },
            window: None,
            feed_forward: FeedForward { inner, gated: false },
            experts: None,
            mtp_depth: 0,
            tied: true,
        }
    }

    /// Whether a layer has experts.
    pub fn is_sparse(&self, layer: u32) -> bool {
        self.experts.is_some() && layer >= self.dense_layers
    }

    /// Weights of attention in a layer.
    pub fn attention_parameters(&self) -> f64 {
        let d = f64::from(self.hidden);
        match self.attention {
            Attention::Grouped { heads, kv_heads, head_dim } => {
                2.0 * d * f64::from(head_dim) * (f64::from(heads) + f64::from(kv_heads))
            }
            Attention::Latent { heads, q_rank, kv_rank, nope, rope, value } => {
                let [heads, kv_rank, nope, rope, value] = [heads, kv_rank, nope, rope, value].map(f64::from);
                let queries = match q_rank.map(f64::from) {
                    Some(rank) => d * rank + rank * heads * (nope + rope),
                    None => d * heads * (nope + rope),
                };
                queries + d * (kv_rank + rope) + kv_rank * heads * (nope + value) + heads * value * d
            }
        }
    }

    /// Weights of a layer that every rank of the expert group has.
    pub fn shared_parameters(&self, layer: u32) -> f64 {
        let d = f64::from(self.hidden);
        let rest = match self.experts.filter(|_| self.is_sparse(layer)) {
            Some(experts) => d * (3.0 * f64::from(experts.shared_inner) + f64::from(experts.n)),
            None => d * f64::from(self.feed_forward.inner) * if self.feed_forward.gated { 3.0 } else { 2.0 },
        };
        self.attention_parameters() + rest
    }

    /// Weights of all routed experts of a layer.
    pub fn expert_parameters(&self, layer: u32) -> f64 {
        let routed = self.experts.filter(|_| self.is_sparse(layer));
        routed.map_or(0.0, |e| 3.0 * f64::from(self.hidden) * f64::from(e.inner) * f64::from(e.n))
    }

    /// Rows and columns of the embedding.
    pub fn vocabulary_parameters(&self) -> f64 {
        f64::from(self.hidden) * f64::from(self.vocab)
    }

    /// Weights without MTP.
    pub fn parameters(&self) -> f64 {
        let layers = (0..self.layers).map(|layer| self.shared_parameters(layer) + self.expert_parameters(layer));
        layers.sum::<f64>() + self.vocabulary_parameters() * if self.tied { 1.0 } else { 2.0 }
    }

    /// Weights that one token is multiplied with in a layer.
    fn active_parameters(&self, layer: u32) -> f64 {
        let share = self.experts.map_or(0.0, |e| f64::from(e.top_k) / f64::from(e.n));
        self.shared_parameters(layer) + share * self.expert_parameters(layer)
    }

    /// Tokens that a token looks at under a causal mask, in the mean of its places and of the layers.
    pub fn pairs_per_token(&self, sequence: f64) -> f64 {
        let whole = sequence / 2.0;
        let Some(window) = self.window else { return whole };
        let tokens = f64::from(window.tokens).min(sequence);
        // The first tokens of a sequence have less behind them than the window shows.
        let near = tokens - tokens * tokens / (2.0 * sequence);
        let share = if window.whole_every == 0 { 0.0 } else { 1.0 / f64::from(window.whole_every) };
        share * whole + (1.0 - share) * near
    }

    /// Matrix FLOPs of a token forward and backward (three times the forward, nothing recomputed), without MTP: six for
    /// every weight that it meets, and attention over all pairs or, causal, over half of them.
    pub fn training_flops_per_token(&self, sequence: f64, causal: bool) -> f64 {
        let weights: f64 = (0..self.layers).map(|layer| self.active_parameters(layer)).sum();
        let widths = match self.attention {
            Attention::Grouped { heads, head_dim, .. } => 2.0 * f64::from(heads) * f64::from(head_dim),
            Attention::Latent { heads, nope, rope, value, .. } => f64::from(heads) * f64::from(nope + rope + value),
        };
        let pairs = if causal { self.pairs_per_token(sequence) } else { sequence };
        6.0 * (weights + self.vocabulary_parameters() + f64::from(self.layers) * widths * pairs)
    }
}

impl From<&ModelConfig> for Network {
    fn from(config: &ModelConfig) -> Self {
        let a = &config.attention;
        let moe = &config.moe;
        let max_nodes = match moe.groups {
            GroupLimit::AnyGroup => None,
            GroupLimit::AtMost { picked, .. } => Some(picked),
        };
        let experts = Experts {
            n: moe.n_experts,
            top_k: moe.top_k,
            inner: moe.expert_hidden,
            shared_inner: moe.n_shared * moe.expert_hidden,
            max_nodes,
            biased: false,
        };
        Self {
            layers: config.n_layers,
            dense_layers: config.n_dense_layers.min(config.n_layers),
            hidden: config.hidden_size,
            vocab: config.vocab_size,
            attention: Attention::Latent {
                heads: a.n_heads,
                q_rank: a.q_lora_rank,
                kv_rank: a.kv_lora_rank,
                nope: a.qk_nope_dim,
                rope: a.qk_rope_dim,
                value: a.v_head_dim,
            },
            window: None,
            feed_forward: FeedForward { inner: config.dense_hidden, gated: true },
            experts: Some(experts),
            mtp_depth: config.mtp.depth,
            tied: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_the_model_as_data_without_norms() {
        for name in ds_arch::PRESETS {
            let config = ds_arch::preset(name).unwrap();
            let network = Network::from(&config);
            let known = ds_arch::counts(&config).total as f64;
            let ratio = network.parameters() / known;
            assert!((0.98..=1.0).contains(&ratio), "{name}: {} of {known}", network.parameters());
        }
    }

    #[test]
    fn deepseek_v3_costs_a_token_what_is_published() {
        // arXiv 2505.09343, table 2: 250 GFLOP a token.
        let network = Network::from(&ds_arch::preset("deepseek-v3").unwrap());
        let flops = network.training_flops_per_token(4096.0, true) / 1e9;
        assert!((flops - 250.0).abs() < 2.5, "{flops}");
    }
}
