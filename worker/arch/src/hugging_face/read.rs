//! `config.json` to the model.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::problem::{ConfigProblem, ConfigProblems};
use super::rope;
use crate::{AttentionConfig, BiasUse, GateScore, GroupLimit, GroupScore, ModelConfig, MoeConfig, MtpConfig, MtpInput};

/// Rows and columns of any matrix, and tokens of a sequence: those that a job may have.
const WIDTH: RangeInclusive<u32> = 1..=1 << 24;
/// Experts of a layer, and heads.
const EXPERTS: RangeInclusive<u32> = 1..=4096;
/// Layers of any kind.
const LAYERS: u32 = 1024;

/// What a `config.json` says.
#[derive(Clone, Debug, PartialEq)]
pub struct HuggingFaceConfig {
    /// The network.
    pub model: ModelConfig,
    /// Whether it promises FP8 weights with a scale for every block of 128 × 128.
    pub is_quantised: bool,
}

/// Reads the text of a `config.json`.
///
/// # Errors
/// Every field that is missing, or has a value that this program does not know.
pub fn read(text: &str) -> Result<HuggingFaceConfig, ConfigProblems> {
    let broken = |value: String, rule: &str| {
        let rule = rule.to_owned();
        ConfigProblems(vec![ConfigProblem { field: "config.json".to_owned(), value, rule }])
    };
    let value: Value = serde_json::from_str(text).map_err(|error| broken(error.to_string(), "JSON is needed"))?;
    let Value::Object(config) = value else {
        return Err(broken("another value".to_owned(), "a JSON object is needed"));
    };
    let mut problems = Vec::new();
    architecture(&mut Fields::new("", &config, &mut problems));
    let model = model(&config, &mut problems);
    products(&model, &mut Fields::new("", &config, &mut problems));
    let is_quantised = quantisation(&config, &mut problems);
    if problems.is_empty() { Ok(HuggingFaceConfig { model, is_quantised }) } else { Err(ConfigProblems(problems)) }
}

fn architecture(fields: &mut Fields<'_>) {
    let rule = "only DeepseekV3ForCausalLM of model_type \"deepseek_v3\" is known";
    match fields.get("model_type").and_then(Value::as_str) {
        Some("deepseek_v3") => {}
        _ => fields.refuse("model_type", rule),
    }
    if fields.get("architectures").is_some_and(|names| *names != json!(["DeepseekV3ForCausalLM"])) {
        fields.refuse("architectures", rule);
    }
}

fn model(config: &Map<String, Value>, problems: &mut Vec<ConfigProblem>) -> ModelConfig {
    let rope = rope::read(config, problems);
    let mut fields = Fields::new("", config, problems);
    unsupported(&mut fields);
    let n_layers = fields.whole("num_hidden_layers", 1..=LAYERS);
    let n_dense_layers = fields.whole("first_k_dense_replace", 0..=LAYERS);
    if n_dense_layers > n_layers {
        fields.refuse("first_k_dense_replace", format!("there are num_hidden_layers {n_layers}"));
    }
    let depth = fields.whole_if_there("num_nextn_predict_layers", 0..=LAYERS).unwrap_or(0);
    let input = match fields.get("mtp_input").and_then(Value::as_str) {
        Some("pre_norm") => MtpInput::PreNorm,
        Some("post_norm") | None => MtpInput::PostNorm,
        Some(_) => {
            fields.refuse("mtp_input", "only \"pre_norm\" and \"post_norm\" are known");
            MtpInput::PostNorm
        }
    };
    ModelConfig {
        vocab_size: fields.whole("vocab_size", WIDTH),
        hidden_size: fields.whole("hidden_size", WIDTH),
        n_layers,
        n_dense_layers,
        dense_hidden: fields.whole("intermediate_size", WIDTH),
        moe: moe(&mut fields),
        mtp: MtpConfig { depth, input },
        norm_eps: fields.positive("rms_norm_eps", Some(1e-6)),
        init_std: fields.positive("initializer_range", Some(0.02)),
        attention: AttentionConfig {
            n_heads: heads(&mut fields),
            q_lora_rank: fields.whole_if_there("q_lora_rank", WIDTH),
            kv_lora_rank: fields.whole("kv_lora_rank", WIDTH),
            qk_nope_dim: fields.whole("qk_nope_head_dim", WIDTH),
            qk_rope_dim: rope_dim(&mut fields),
            v_head_dim: fields.whole("v_head_dim", WIDTH),
            rope,
            max_positions: fields.whole("max_position_embeddings", WIDTH),
        },
    }
}

/// What other models of the family have and this one has not.
fn unsupported(fields: &mut Fields<'_>) {
    fields.only("hidden_act", &json!("silu"), "experts are SwiGLU");
    fields.only("attention_bias", &json!(false), "projections have no bias");
    fields.only("mlp_bias", &json!(false), "projections have no bias");
    fields.only("attention_dropout", &json!(0), "there is no dropout");
    fields.only("tie_word_embeddings", &json!(false), "embedding and head are two matrices");
    fields.only("rope_interleave", &json!(true), "rotary pairs lie side by side");
    fields.only("moe_layer_freq", &json!(1), "every layer behind the dense ones has experts");
    fields.only("scoring_func", &json!("sigmoid"), "it is DeepSeek-V3's");
    fields.only("topk_method", &json!("noaux_tc"), "groups are picked by their two best biased scores");
}

/// That matrices whose sides are products have sides that can be counted.
fn products(model: &ModelConfig, fields: &mut Fields<'_>) {
    let (a, moe) = (&model.attention, &model.moe);
    let widest = u64::from((a.qk_nope_dim + a.qk_rope_dim).max(a.qk_nope_dim + a.v_head_dim));
    let most = u64::from(*WIDTH.end());
    if u64::from(a.n_heads) * widest > most {
        fields.refuse("num_attention_heads", format!("heads of {widest} may have {most} columns together"));
    }
    if u64::from(moe.n_shared) * u64::from(moe.expert_hidden) > most {
        let width = moe.expert_hidden;
        fields.refuse("n_shared_experts", format!("experts of {width} may have {most} columns together"));
    }
}

fn heads(fields: &mut Fields<'_>) -> u32 {
    let n_heads = fields.whole("num_attention_heads", EXPERTS);
    if fields.whole_if_there("num_key_value_heads", EXPERTS).is_some_and(|n| n != n_heads) {
        fields.refuse("num_key_value_heads", format!("latent attention has num_attention_heads {n_heads} of them"));
    }
    n_heads
}

fn rope_dim(fields: &mut Fields<'_>) -> u32 {
    let (dim, nope) = (fields.whole("qk_rope_head_dim", 2..=1 << 24), fields.whole_if_there("qk_nope_head_dim", WIDTH));
    if !dim.is_multiple_of(2) {
        fields.refuse("qk_rope_head_dim", "rotary positions turn pairs");
    }
    let whole = u64::from(dim) + u64::from(nope.unwrap_or(0));
    if nope.is_some() && fields.whole_if_there("qk_head_dim", 1..=u32::MAX).is_some_and(|qk| u64::from(qk) != whole) {
        fields.refuse("qk_head_dim", format!("qk_nope_head_dim and qk_rope_head_dim are {whole} together"));
    }
    dim
}

fn moe(fields: &mut Fields<'_>) -> MoeConfig {
    let n_experts = fields.whole("n_routed_experts", EXPERTS);
    let (n_groups, picked) = (
        fields.whole_if_there("n_group", EXPERTS).unwrap_or(1),
        fields.whole_if_there("topk_group", EXPERTS).unwrap_or(1),
    );
    if !n_experts.is_multiple_of(n_groups) {
        fields.refuse("n_group", format!("it must divide n_routed_experts {n_experts}, since groups are equal"));
    }
    if picked > n_groups {
        fields.refuse("topk_group", format!("there are n_group {n_groups}"));
    }
    let top_k = fields.whole("num_experts_per_tok", EXPERTS);
    let eligible = u64::from(n_experts / n_groups) * u64::from(picked);
    if u64::from(top_k) > eligible {
        fields.refuse(
            "num_experts_per_tok",
            format!("topk_group {picked} of n_group {n_groups} hold {eligible} experts"),
        );
    }
    MoeConfig {
        n_experts,
        n_shared: fields.whole_if_there("n_shared_experts", 0..=4096).unwrap_or(0),
        top_k,
        expert_hidden: fields.whole("moe_intermediate_size", WIDTH),
        groups: if n_groups == 1 { GroupLimit::AnyGroup } else { GroupLimit::AtMost { n_groups, picked } },
        group_score: GroupScore::TwoBest,
        score: GateScore::Sigmoid,
        bias: BiasUse::Added,
        normalise: fields.flag("norm_topk_prob", true),
        route_scale: fields.positive("routed_scaling_factor", Some(1.0)),
    }
}

/// Whether weights are promised to be FP8 blocks; other ways to quantise are refused.
fn quantisation(config: &Map<String, Value>, problems: &mut Vec<ConfigProblem>) -> bool {
    let Some(value) = config.get("quantization_config").filter(|value| !value.is_null()) else { return false };
    let Some(object) = value.as_object() else {
        Fields::new("", config, problems).refuse("quantization_config", "an object or null is needed");
        return false;
    };
    let mut fields = Fields::new("quantization_config.", object, problems);
    if fields.get("quant_method").and_then(Value::as_str) != Some("fp8") {
        fields.refuse("quant_method", "only \"fp8\" is known");
        return false;
    }
    fields.only("fmt", &json!("e4m3"), "other eight-bit floats are not");
    fields.only("activation_scheme", &json!("dynamic"), "activations are scaled as they come");
    if fields.get("weight_block_size") != Some(&json!([128, 128])) {
        fields.refuse("weight_block_size", "blocks of [128,128] are needed");
    }
    true
}
