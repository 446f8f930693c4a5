//! `config.json` as the model's numbers.

use ds_arch::{
    AttentionConfig, BiasUse, GateScore, GroupLimit, GroupScore, ModelConfig, MoeConfig, MtpConfig, MtpInput,
    RopeConfig,
};
use serde_json::Value;

use crate::folder::{Folder, number};

/// # Panics
/// When the file is not of DeepSeek-V3's form.
pub(super) fn read(folder: &Folder, mtp: MtpConfig) -> ModelConfig {
    let json = folder.json("config_deepseek_style.json");
    let whole = |field: &str| number(&json, field) as u32;
    ModelConfig {
        vocab_size: whole("vocab_size"),
        hidden_size: whole("hidden_size"),
        n_layers: whole("num_hidden_layers"),
        n_dense_layers: whole("first_k_dense_replace"),
        dense_hidden: whole("intermediate_size"),
        attention: AttentionConfig {
            n_heads: whole("num_attention_heads"),
            q_lora_rank: json["q_lora_rank"].as_u64().map(|rank| rank as u32),
            kv_lora_rank: whole("kv_lora_rank"),
            qk_nope_dim: whole("qk_nope_head_dim"),
            qk_rope_dim: whole("qk_rope_head_dim"),
            v_head_dim: whole("v_head_dim"),
            rope: rope(&json),
            max_positions: whole("max_position_embeddings"),
        },
        moe: MoeConfig {
            n_experts: whole("n_routed_experts"),
            n_shared: whole("n_shared_experts"),
            top_k: whole("num_experts_per_tok"),
            expert_hidden: whole("moe_intermediate_size"),
            groups: match whole("n_group") {
                1 => GroupLimit::AnyGroup,
                n_groups => GroupLimit::AtMost { n_groups, picked: whole("topk_group") },
            },
            group_score: GroupScore::TwoBest,
            score: GateScore::Sigmoid,
            bias: BiasUse::Added,
            normalise: json["norm_topk_prob"].as_bool().expect("norm_topk_prob"),
            route_scale: number(&json, "routed_scaling_factor"),
        },
        mtp,
        norm_eps: number(&json, "rms_norm_eps"),
        init_std: 0.02,
    }
}

pub(super) fn without_mtp() -> MtpConfig {
    MtpConfig { depth: 0, input: MtpInput::PostNorm }
}

fn rope(json: &Value) -> RopeConfig {
    let plain = RopeConfig::plain(number(json, "rope_theta"));
    let yarn = &json["rope_scaling"];
    if yarn.is_null() {
        return plain;
    }
    RopeConfig {
        factor: number(yarn, "factor"),
        original_positions: number(yarn, "original_max_position_embeddings") as u32,
        beta_fast: number(yarn, "beta_fast"),
        beta_slow: number(yarn, "beta_slow"),
        mscale: number(yarn, "mscale"),
        mscale_all_dim: number(yarn, "mscale_all_dim"),
        ..plain
    }
}
