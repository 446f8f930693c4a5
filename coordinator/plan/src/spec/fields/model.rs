//! The network.

use ds_arch::GroupLimit;

use super::words::{BIAS_USES, GROUP_SCORES, MTP_INPUTS, SCORES};
use crate::spec::field::{Field, Lens, NOT_NEGATIVE, POSITIVE, field, lens, whole};
use crate::spec::kind::Kind;
use crate::spec::value::{Value, slot};

/// Where a model is named; it resolves to the other fields of the section.
pub(in crate::spec) const PRESET_PATH: &str = "model.preset";
/// Its key.
pub(in crate::spec) const PRESET: &str = "preset";

/// Rows and columns of any matrix.
const WIDTH: Kind = whole(1, 1 << 24);
/// Layers of any kind.
const LAYERS: i128 = 1024;
/// Experts of a layer.
const EXPERTS: i128 = 4096;

pub(super) const FIELDS: &[Field] = &[
    field(
        "model.vocab_size",
        WIDTH,
        lens!(s, at => s.model.vocab_size),
        "Rows of the embedding and of the output head, in tokens.",
    ),
    field("model.hidden_size", WIDTH, lens!(s, at => s.model.hidden_size), "Width of the residual stream."),
    field("model.n_layers", whole(1, LAYERS), lens!(s, at => s.model.n_layers), "Decoder layers, without MTP."),
    field(
        "model.n_dense_layers",
        whole(0, LAYERS),
        lens!(s, at => s.model.n_dense_layers),
        "The first layers, which have a dense feed-forward network.",
    ),
    field(
        "model.dense_hidden",
        WIDTH,
        lens!(s, at => s.model.dense_hidden),
        "Inner width of the dense feed-forward network.",
    ),
    field(
        "model.norm_eps",
        POSITIVE,
        lens!(s, at => s.model.norm_eps),
        "Epsilon of every RMSNorm; those inside attention have 1.0e-6.",
    )
    .default("1.0e-6"),
    field("model.init_std", POSITIVE, lens!(s, at => s.model.init_std), "Standard deviation of initial weights.")
        .default("0.02"),
];

pub(super) const ATTENTION: &[Field] = &[
    field("model.attention.n_heads", whole(1, 4096), lens!(s, at => s.model.attention.n_heads), "Heads."),
    field(
        "model.attention.q_lora_rank",
        WIDTH,
        lens!(s, at => s.model.attention.q_lora_rank),
        "Width of the compressed query; null to project queries directly.",
    )
    .nullable()
    .default("null"),
    field(
        "model.attention.kv_lora_rank",
        WIDTH,
        lens!(s, at => s.model.attention.kv_lora_rank),
        "Width of the compressed key and value.",
    ),
    field(
        "model.attention.qk_nope_dim",
        WIDTH,
        lens!(s, at => s.model.attention.qk_nope_dim),
        "Width of a head's query and key without position.",
    ),
    field(
        "model.attention.qk_rope_dim",
        whole(2, 1 << 24),
        lens!(s, at => s.model.attention.qk_rope_dim),
        "Width of a head's query, and of the shared key, that carry the rotary position; even.",
    ),
    field(
        "model.attention.v_head_dim",
        WIDTH,
        lens!(s, at => s.model.attention.v_head_dim),
        "Width of a head's value.",
    ),
    field(
        "model.attention.rope_theta",
        POSITIVE,
        lens!(s, at => s.model.attention.rope.theta),
        "Base of the rotary frequencies.",
    )
    .default("10000.0"),
    field(
        "model.attention.max_positions",
        whole(1, 1 << 24),
        lens!(s, at => s.model.attention.max_positions),
        "Longest sequence, in tokens.",
    ),
];

pub(super) const YARN: &[Field] = &[
    field(
        "model.attention.yarn.factor",
        POSITIVE,
        lens!(s, at => s.model.attention.rope.factor),
        "How many times longer sequences become; 1 for positions as they are.",
    )
    .default("1.0"),
    field(
        "model.attention.yarn.original_positions",
        whole(1, 1 << 24),
        lens!(s, at => s.model.attention.rope.original_positions),
        "Longest sequence before the stretch, in tokens.",
    )
    .default("4096"),
    field(
        "model.attention.yarn.beta_fast",
        POSITIVE,
        lens!(s, at => s.model.attention.rope.beta_fast),
        "Turns within the original length from which a frequency stays as it is.",
    )
    .default("32.0"),
    field(
        "model.attention.yarn.beta_slow",
        POSITIVE,
        lens!(s, at => s.model.attention.rope.beta_slow),
        "Turns within the original length up to which a frequency is divided by the factor.",
    )
    .default("1.0"),
    field(
        "model.attention.yarn.mscale",
        NOT_NEGATIVE,
        lens!(s, at => s.model.attention.rope.mscale),
        "Weight of the growth of cosines and sines with ln(factor).",
    )
    .default("1.0"),
    field(
        "model.attention.yarn.mscale_all_dim",
        NOT_NEGATIVE,
        lens!(s, at => s.model.attention.rope.mscale_all_dim),
        "Weight of the growth of all logits with ln(factor).",
    )
    .default("1.0"),
];

const N_GROUPS: Lens = Lens {
    get: |spec, _| Value::Whole(groups(spec.model.moe.groups).0.into()),
    set: |spec, _, value| {
        let (_, picked) = groups(spec.model.moe.groups);
        spec.model.moe.groups = GroupLimit::AtMost { n_groups: slot(value), picked };
    },
};

const PICKED_GROUPS: Lens = Lens {
    get: |spec, _| Value::Whole(groups(spec.model.moe.groups).1.into()),
    set: |spec, _, value| {
        let (n_groups, picked) = (groups(spec.model.moe.groups).0, slot(value));
        // One group, of which one is picked, is no limit.
        spec.model.moe.groups = match (n_groups, picked) {
            (1, 1) => GroupLimit::AnyGroup,
            _ => GroupLimit::AtMost { n_groups, picked },
        };
    },
};

fn groups(limit: GroupLimit) -> (u32, u32) {
    match limit {
        GroupLimit::AnyGroup => (1, 1),
        GroupLimit::AtMost { n_groups, picked } => (n_groups, picked),
    }
}

pub(super) const MOE: &[Field] = &[
    field(
        "model.moe.n_experts",
        whole(1, EXPERTS),
        lens!(s, at => s.model.moe.n_experts),
        "Routed experts of a layer.",
    ),
    field("model.moe.n_shared", whole(0, EXPERTS), lens!(s, at => s.model.moe.n_shared), "Shared experts of a layer."),
    field(
        "model.moe.top_k",
        whole(1, EXPERTS),
        lens!(s, at => s.model.moe.top_k),
        "Routed experts that a token goes to.",
    ),
    field("model.moe.expert_hidden", WIDTH, lens!(s, at => s.model.moe.expert_hidden), "Inner width of one expert."),
    field(
        "model.moe.n_groups",
        whole(1, EXPERTS),
        N_GROUPS,
        "Equal runs of experts that a token first chooses from; 1 for no limit.",
    )
    .default("1"),
    field(
        "model.moe.picked_groups",
        whole(1, EXPERTS),
        PICKED_GROUPS,
        "Groups that one token's experts may come from.",
    )
    .default("1"),
    field(
        "model.moe.group_score",
        Kind::Word(GROUP_SCORES),
        lens!(s, at => s.model.moe.group_score),
        "What a group of experts is worth to a token.",
    )
    .default("two_best"),
    field(
        "model.moe.score",
        Kind::Word(SCORES),
        lens!(s, at => s.model.moe.score),
        "How the gate's logits become affinities.",
    )
    .default("sigmoid"),
    field(
        "model.moe.bias",
        Kind::Word(BIAS_USES),
        lens!(s, at => s.model.moe.bias),
        "How the gate's bias takes part in the choice of experts.",
    )
    .default("added"),
    field(
        "model.moe.normalise",
        Kind::Flag,
        lens!(s, at => s.model.moe.normalise),
        "Whether the chosen affinities are divided by their sum.",
    )
    .default("true"),
    field("model.moe.route_scale", POSITIVE, lens!(s, at => s.model.moe.route_scale), "Factor on the chosen weights.")
        .default("1.0"),
];

pub(super) const MTP: &[Field] = &[
    field(
        "model.mtp.depth",
        whole(0, 16),
        lens!(s, at => s.model.mtp.depth),
        "Further tokens that are predicted; 0 for none.",
    )
    .default("0"),
    field(
        "model.mtp.input",
        Kind::Word(MTP_INPUTS),
        lens!(s, at => s.model.mtp.input),
        "What of the main model the first MTP module reads.",
    )
    .default("post_norm"),
];
