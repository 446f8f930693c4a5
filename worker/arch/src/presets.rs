//! Models by name.

use crate::{
    AttentionConfig, BiasUse, GateScore, GroupLimit, GroupScore, ModelConfig, MoeConfig, MtpConfig, MtpInput,
    RopeConfig,
};

/// Every preset's name, the official ones first.
pub const PRESETS: &[&str] = &["deepseek-v3", "deepseek-v2-lite", "bard", "tiny"];

/// The model of that name.
pub fn preset(name: &str) -> Option<ModelConfig> {
    match name {
        "deepseek-v3" => Some(deepseek_v3()),
        "deepseek-v2-lite" => Some(deepseek_v2_lite()),
        "bard" => Some(bard()),
        "tiny" => Some(tiny()),
        _ => None,
    }
}

/// arXiv 2412.19437 §4.2 and the released `config_671B.json`.
fn deepseek_v3() -> ModelConfig {
    ModelConfig {
        vocab_size: 129_280,
        hidden_size: 7168,
        n_layers: 61,
        n_dense_layers: 3,
        dense_hidden: 18_432,
        attention: AttentionConfig {
            n_heads: 128,
            q_lora_rank: Some(1536),
            kv_lora_rank: 512,
            qk_nope_dim: 128,
            qk_rope_dim: 64,
            v_head_dim: 128,
            rope: RopeConfig::plain(10_000.0),
            max_positions: 4096,
        },
        moe: MoeConfig {
            n_experts: 256,
            n_shared: 1,
            top_k: 8,
            expert_hidden: 2048,
            groups: GroupLimit::AtMost { n_groups: 8, picked: 4 },
            group_score: GroupScore::TwoBest,
            score: GateScore::Sigmoid,
            bias: BiasUse::Added,
            normalise: true,
            route_scale: 2.5,
        },
        mtp: MtpConfig { depth: 1, input: MtpInput::PostNorm },
        norm_eps: 1e-6,
        init_std: 0.006,
    }
}

/// The 16B of arXiv 2405.04434.
fn deepseek_v2_lite() -> ModelConfig {
    ModelConfig {
        vocab_size: 102_400,
        hidden_size: 2048,
        n_layers: 27,
        n_dense_layers: 1,
        dense_hidden: 10_944,
        attention: AttentionConfig {
            n_heads: 16,
            q_lora_rank: None,
            kv_lora_rank: 512,
            qk_nope_dim: 128,
            qk_rope_dim: 64,
            v_head_dim: 128,
            rope: RopeConfig::plain(10_000.0),
            max_positions: 4096,
        },
        moe: MoeConfig {
            n_experts: 64,
            n_shared: 2,
            top_k: 6,
            expert_hidden: 1408,
            groups: GroupLimit::AnyGroup,
            group_score: GroupScore::Best,
            score: GateScore::Softmax,
            bias: BiasUse::Added,
            normalise: false,
            route_scale: 1.0,
        },
        mtp: MtpConfig { depth: 0, input: MtpInput::PostNorm },
        norm_eps: 1e-6,
        init_std: 0.006,
    }
}

/// What the quickstart trains on Shakespeare's bytes: 1 dense and 4 MoE layers, small enough for two cores.
fn bard() -> ModelConfig {
    ModelConfig {
        vocab_size: 320,
        hidden_size: 128,
        n_layers: 5,
        n_dense_layers: 1,
        dense_hidden: 384,
        attention: AttentionConfig {
            n_heads: 4,
            q_lora_rank: Some(96),
            kv_lora_rank: 64,
            qk_nope_dim: 32,
            qk_rope_dim: 16,
            v_head_dim: 32,
            rope: RopeConfig::plain(10_000.0),
            max_positions: 1024,
        },
        moe: MoeConfig {
            n_experts: 16,
            n_shared: 1,
            top_k: 4,
            expert_hidden: 96,
            groups: GroupLimit::AtMost { n_groups: 4, picked: 2 },
            group_score: GroupScore::TwoBest,
            score: GateScore::Sigmoid,
            bias: BiasUse::Added,
            normalise: true,
            route_scale: 1.0,
        },
        mtp: MtpConfig { depth: 1, input: MtpInput::PostNorm },
        norm_eps: 1e-6,
        init_std: 0.02,
    }
}

/// What the tests train in a second.
fn tiny() -> ModelConfig {
    ModelConfig {
        hidden_size: 32,
        n_layers: 4,
        dense_hidden: 64,
        attention: AttentionConfig {
            n_heads: 2,
            q_lora_rank: Some(16),
            kv_lora_rank: 16,
            qk_nope_dim: 16,
            qk_rope_dim: 8,
            v_head_dim: 16,
            ..bard().attention
        },
        moe: MoeConfig { n_experts: 8, top_k: 2, expert_hidden: 16, ..bard().moe },
        ..bard()
    }
}
