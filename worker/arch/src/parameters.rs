//! The table of logical parameters. Names are those of the released checkpoints, so that they are the keys of every
//! checkpoint; experts are named one by one, however memory stacks them.

use crate::{AttentionConfig, ExpertId, LayerId, ModelConfig, MoeConfig};

/// One logical parameter: what a checkpoint knows it by, whatever ranks hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// For example `model.layers.3.self_attn.q_a_proj.weight`.
    pub name: String,
    /// Rows first: a projection is `[out, in]`.
    pub shape: Vec<u32>,
    /// How it starts.
    pub init: Init,
    /// Whether weight decay applies: to matrices, not to norms.
    pub decays: bool,
    /// Which part of the model it belongs to.
    pub place: Place,
    /// The routed expert that owns it, if one does.
    pub expert: Option<ExpertId>,
}

impl Parameter {
    /// Elements.
    pub fn n_elements(&self) -> u64 {
        self.shape.iter().map(|&d| u64::from(d)).product()
    }
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Independent normal values of mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// All ones.
    Ones,
}

/// A part of the model, as pipeline stages divide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `model.embed_tokens`; also read by MTP.
    Embedding,
    /// A decoder layer, or an MTP module as layer `n_layers + k`.
    Layer(LayerId),
    /// `model.norm`.
    FinalNorm,
    /// `lm_head`; also read by MTP.
    Head,
}

/// All parameters, in the order of the model. The gate's bias is not one: it has no gradient.
pub fn parameters(config: &ModelConfig) -> Vec<Parameter> {
    let mut table = Table { config, rows: Vec::new() };
    table.matrix(Place::Embedding, "model.embed_tokens", config.vocab_size, config.hidden_size);
    for layer in 0..config.n_layers {
        table.decoder_layer(LayerId(layer));
    }
    table.norm(Place::FinalNorm, "model.norm", config.hidden_size);
    table.matrix(Place::Head, "lm_head", config.vocab_size, config.hidden_size);
    for depth in 0..config.mtp.depth {
        table.mtp_module(LayerId(config.n_layers + depth));
    }
    table.rows
}

/// The name of the loss-free bias of a layer's gate, shape `[n_experts]`.
pub fn gate_bias_name(layer: LayerId) -> String {
    format!("model.layers.{layer}.mlp.gate.e_score_correction_bias")
}

struct Table<'a> {
    config: &'a ModelConfig,
    rows: Vec<Parameter>,
}

impl Table<'_> {
    fn mtp_module(&mut self, layer: LayerId) {
        let (place, base, d) = (Place::Layer(layer), format!("model.layers.{layer}"), self.config.hidden_size);
        self.norm(place, &format!("{base}.enorm"), d);
        self.norm(place, &format!("{base}.hnorm"), d);
        self.matrix(place, &format!("{base}.eh_proj"), d, 2 * d);
        self.decoder_layer(layer);
        self.norm(place, &format!("{base}.shared_head.norm"), d);
    }

    fn decoder_layer(&mut self, layer: LayerId) {
        let (place, base, d) = (Place::Layer(layer), format!("model.layers.{layer}"), self.config.hidden_size);
        self.norm(place, &format!("{base}.input_layernorm"), d);
        self.attention(place, &format!("{base}.self_attn"), &self.config.attention.clone());
        self.norm(place, &format!("{base}.post_attention_layernorm"), d);
        if self.config.is_moe(layer) {
            self.moe(place, &format!("{base}.mlp"), &self.config.moe.clone());
        } else {
            self.feed_forward(place, &format!("{base}.mlp"), self.config.dense_hidden, None);
        }
    }

    fn attention(&mut self, place: Place, base: &str, a: &AttentionConfig) {
        let d = self.config.hidden_size;
        match a.q_lora_rank {
            Some(rank) => {
                self.matrix(place, &format!("{base}.q_a_proj"), rank, d);
                self.norm(place, &format!("{base}.q_a_layernorm"), rank);
                self.matrix(place, &format!("{base}.q_b_proj"), a.n_heads * a.qk_dim(), rank);
            }
            None => self.matrix(place, &format!("{base}.q_proj"), a.n_heads * a.qk_dim(), d),
        }
        self.matrix(place, &format!("{base}.kv_a_proj_with_mqa"), a.kv_lora_rank + a.qk_rope_dim, d);
        self.norm(place, &format!("{base}.kv_a_layernorm"), a.kv_lora_rank);
        self.matrix(place, &format!("{base}.kv_b_proj"), a.n_heads * (a.qk_nope_dim + a.v_head_dim), a.kv_lora_rank);
        self.matrix(place, &format!("{base}.o_proj"), d, a.n_heads * a.v_head_dim);
    }

    fn moe(&mut self, place: Place, base: &str, moe: &MoeConfig) {
        self.matrix(place, &format!("{base}.gate"), moe.n_experts, self.config.hidden_size);
        for expert in 0..moe.n_experts {
            self.feed_forward(place, &format!("{base}.experts.{expert}"), moe.expert_hidden, Some(ExpertId(expert)));
        }
        if moe.n_shared > 0 {
            self.feed_forward(place, &format!("{base}.shared_experts"), moe.n_shared * moe.expert_hidden, None);
        }
    }

    fn feed_forward(&mut self, place: Place, base: &str, inner: u32, expert: Option<ExpertId>) {
        let d = self.config.hidden_size;
        for (name, rows, columns) in [("gate_proj", inner, d), ("up_proj", inner, d), ("down_proj", d, inner)] {
            self.matrix(place, &format!("{base}.{name}"), rows, columns);
            self.rows.last_mut().expect("just pushed").expert = expert;
        }
    }

    fn matrix(&mut self, place: Place, base: &str, rows: u32, columns: u32) {
        let init = Init::Normal { std: self.config.init_std };
        self.push(place, base, vec![rows, columns], init, true);
    }

    fn norm(&mut self, place: Place, base: &str, width: u32) {
        self.push(place, base, vec![width], Init::Ones, false);
    }

    fn push(&mut self, place: Place, base: &str, shape: Vec<u32>, init: Init, decays: bool) {
        self.rows.push(Parameter { name: format!("{base}.weight"), shape, init, decays, place, expert: None });
    }
}
