//! Numbers of the model that must fit each other.

use super::Rule;
use crate::spec::TokenizerSpec;
use crate::spec::problem::Wrong;
use ds_arch::GroupLimit;

/// The bytes and the end of a document.
const BYTE_TOKENS: u32 = 257;

pub(super) const RULES: &[Rule] = &[
    Rule {
        needs: &["model.n_dense_layers", "model.n_layers"],
        broken: |spec, _| {
            let n_layers = spec.model.n_layers;
            (spec.model.n_dense_layers > n_layers)
                .then(|| Wrong::new(format!("is more than model.n_layers {n_layers}")))
        },
    },
    Rule {
        needs: &["model.attention.qk_rope_dim"],
        broken: |spec, _| {
            let dim = spec.model.attention.qk_rope_dim;
            (dim % 2 != 0).then(|| {
                Wrong::new("is odd, but rotary positions turn pairs").hint(format!("write {} or {}", dim - 1, dim + 1))
            })
        },
    },
    Rule {
        needs: &["model.attention.yarn.factor"],
        broken: |spec, _| {
            (spec.model.attention.rope.factor < 1.0)
                .then(|| Wrong::new("is less than 1").hint("write how many times longer sequences become"))
        },
    },
    Rule {
        needs: &["model.attention.yarn.beta_slow", "model.attention.yarn.beta_fast"],
        broken: |spec, _| {
            let rope = &spec.model.attention.rope;
            (rope.beta_slow > rope.beta_fast)
                .then(|| Wrong::new(format!("is more than model.attention.yarn.beta_fast {}", rope.beta_fast)))
        },
    },
    Rule {
        needs: &["model.moe.top_k", "model.moe.n_experts"],
        broken: |spec, _| {
            let n_experts = spec.model.moe.n_experts;
            (spec.model.moe.top_k > n_experts)
                .then(|| Wrong::new(format!("is more than model.moe.n_experts {n_experts}")))
        },
    },
    Rule {
        needs: &["model.moe.n_groups", "model.moe.n_experts"],
        broken: |spec, _| {
            let GroupLimit::AtMost { n_groups, .. } = spec.model.moe.groups else { return None };
            let n_experts = spec.model.moe.n_experts;
            (!n_experts.is_multiple_of(n_groups))
                .then(|| Wrong::new(format!("must divide model.moe.n_experts {n_experts}, since groups are equal")))
        },
    },
    Rule {
        needs: &["model.moe.picked_groups", "model.moe.n_groups"],
        broken: |spec, _| {
            let GroupLimit::AtMost { n_groups, picked } = spec.model.moe.groups else { return None };
            (picked > n_groups).then(|| Wrong::new(format!("is more than model.moe.n_groups {n_groups}")))
        },
    },
    Rule {
        needs: &["model.moe.top_k", "model.moe.picked_groups", "model.moe.n_groups", "model.moe.n_experts"],
        broken: |spec, _| {
            let GroupLimit::AtMost { n_groups, picked } = spec.model.moe.groups else { return None };
            let n_experts = spec.model.moe.n_experts;
            let eligible = n_experts / n_groups * picked;
            (spec.model.moe.top_k > eligible).then(|| {
                Wrong::new(format!(
                    "is more than the {eligible} experts of picked_groups {picked} of n_groups {n_groups}, \
                     with n_experts {n_experts}"
                ))
            })
        },
    },
    Rule {
        needs: &["model.vocab_size", "data.tokenizer"],
        broken: |spec, _| {
            let is_too_few = spec.data.tokenizer == TokenizerSpec::Bytes && spec.model.vocab_size < BYTE_TOKENS;
            is_too_few
                .then(|| Wrong::new(format!("is too few for data.tokenizer bytes, which has {BYTE_TOKENS} tokens")))
        },
    },
];
