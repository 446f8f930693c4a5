//! How many elements the parameters of a place have, without listing them: the table of a large model has tens of
//! thousands of rows, and a search over layouts asks for thousands of layouts.

use ds_arch::{LayerId, ModelConfig, Place};

/// Elements of the parameters of one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Elements {
    /// Of every tensor rank alike: norms, gates, projections to and from the latents of attention.
    pub(super) whole: u64,
    /// Of matrices that tensor ranks divide.
    pub(super) divided: u64,
    /// Of one routed expert, which tensor ranks divide too.
    pub(super) expert: u64,
}

impl Elements {
    fn plus(self, other: Self) -> Self {
        Self {
            whole: self.whole + other.whole,
            divided: self.divided + other.divided,
            expert: self.expert + other.expert,
        }
    }
}

/// Of one place.
pub(super) fn elements(model: &ModelConfig, place: Place) -> Elements {
    let [d, vocab] = [model.hidden_size, model.vocab_size].map(u64::from);
    match place {
        Place::Embedding | Place::Head => Elements { divided: vocab * d, ..Elements::default() },
        Place::FinalNorm => Elements { whole: d, ..Elements::default() },
        Place::Layer(layer) if layer.0 >= model.n_layers => {
            // Two norms before the joining projection, one before the head.
            decoder_layer(model, layer).plus(Elements { whole: 3 * d, divided: 2 * d * d, expert: 0 })
        }
        Place::Layer(layer) => decoder_layer(model, layer),
    }
}

fn decoder_layer(model: &ModelConfig, layer: LayerId) -> Elements {
    let d = u64::from(model.hidden_size);
    let feed_forward = if model.is_moe(layer) {
        let [n, shared, inner] = [model.moe.n_experts, model.moe.n_shared, model.moe.expert_hidden].map(u64::from);
        Elements { whole: n * d, divided: 3 * d * shared * inner, expert: 3 * d * inner }
    } else {
        Elements { divided: 3 * d * u64::from(model.dense_hidden), ..Elements::default() }
    };
    attention(model).plus(feed_forward).plus(Elements { whole: 2 * d, ..Elements::default() })
}

fn attention(model: &ModelConfig) -> Elements {
    let a = &model.attention;
    let [d, heads, c_kv, nope, rope, value] =
        [model.hidden_size, a.n_heads, a.kv_lora_rank, a.qk_nope_dim, a.qk_rope_dim, a.v_head_dim].map(u64::from);
    let query = match a.q_lora_rank.map(u64::from) {
        Some(rank) => Elements { whole: rank * d + rank, divided: heads * (nope + rope) * rank, expert: 0 },
        None => Elements { divided: heads * (nope + rope) * d, ..Elements::default() },
    };
    query.plus(Elements {
        whole: (c_kv + rope) * d + c_kv,
        divided: heads * (nope + value) * c_kv + heads * value * d,
        expert: 0,
    })
}

#[cfg(test)]
mod tests {
    use ds_arch::{PRESETS, parameters, places, preset};

    use super::*;

    #[test]
    fn every_place_has_as_many_elements_as_its_parameters_in_the_table() {
        for name in PRESETS {
            let model = preset(name).unwrap();
            let table = parameters(&model);
            for place in places(&model) {
                let sum = |of_expert: Option<u32>| -> u64 {
                    let own = table.iter().filter(|p| p.place == place && p.expert.map(|e| e.0) == of_expert);
                    own.map(ds_arch::Parameter::n_elements).sum()
                };
                let counted = elements(&model, place);
                assert_eq!(counted.whole + counted.divided, sum(None), "{name} {place:?}");
                assert_eq!(counted.expert, sum(Some(0)), "{name} {place:?}");
            }
        }
    }
}
