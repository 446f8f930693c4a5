//! The model to `config.json`.

use serde_json::{Map, Value, json};

use super::problem::{ConfigProblem, ConfigProblems};
use super::rope;
use crate::{BiasUse, GateScore, GroupLimit, GroupScore, ModelConfig, MtpInput};

/// What most weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightType {
    /// IEEE single.
    F32,
    /// The upper half of a single.
    Bf16,
    /// IEEE half.
    F16,
    /// E4M3 with block scales; what is not quantised is BF16.
    Fp8,
}

/// The text of a `config.json`. Fields of `kept`, the text of one that the model came with, stay as they are where they
/// say nothing about the network: tokens at begin and end, for example.
///
/// # Errors
/// When the model has something that DeepSeek-V3's has no word for, or `kept` is no JSON object.
pub fn write(model: &ModelConfig, weights: WeightType, kept: Option<&str>) -> Result<String, ConfigProblems> {
    unspoken(model)?;
    let mut config = kept.map_or_else(|| Ok(Map::new()), object)?;
    // They are said again below, or were words of the old spelling for what is said below.
    for gone in ["rope_parameters", "quantization_config", "mtp_input", "dtype", "head_dim", "qk_head_dim"] {
        config.remove(gone);
    }
    for (name, value) in fields(model, weights) {
        config.insert(name.to_owned(), value);
    }
    if weights == WeightType::Fp8 {
        config.insert("quantization_config".to_owned(), quantisation());
    }
    if model.mtp.input == MtpInput::PreNorm {
        config.insert("mtp_input".to_owned(), json!("pre_norm"));
    }
    let mut text = serde_json::to_string_pretty(&config).expect("JSON has a text");
    text.push('\n');
    Ok(text)
}

/// That the gate is DeepSeek-V3's: `config.json` has no words for another.
fn unspoken(model: &ModelConfig) -> Result<(), ConfigProblems> {
    let moe = &model.moe;
    let limited = moe.groups != GroupLimit::AnyGroup;
    let rules = [
        (moe.score != GateScore::Sigmoid, "moe.score", "softmax", "DeepSeek-V3's config.json only knows sigmoid"),
        (
            limited && moe.group_score != GroupScore::TwoBest,
            "moe.group_score",
            "best",
            "DeepSeek-V3's config.json only knows the two best",
        ),
        (moe.bias != BiasUse::Added, "moe.bias", "a factor", "DeepSeek-V3's config.json only knows one that is added"),
    ];
    let problems: Vec<ConfigProblem> = rules
        .into_iter()
        .filter(|(broken, ..)| *broken)
        .flat_map(|(_, field, value, rule)| one(field, value, rule).0)
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(ConfigProblems(problems)) }
}

fn fields(model: &ModelConfig, weights: WeightType) -> Vec<(&'static str, Value)> {
    let (attention, moe) = (&model.attention, &model.moe);
    let (n_group, topk_group) = match moe.groups {
        GroupLimit::AnyGroup => (1, 1),
        GroupLimit::AtMost { n_groups, picked } => (n_groups, picked),
    };
    vec![
        ("architectures", json!(["DeepseekV3ForCausalLM"])),
        ("model_type", json!("deepseek_v3")),
        ("vocab_size", json!(model.vocab_size)),
        ("hidden_size", json!(model.hidden_size)),
        ("num_hidden_layers", json!(model.n_layers)),
        ("first_k_dense_replace", json!(model.n_dense_layers)),
        ("intermediate_size", json!(model.dense_hidden)),
        ("num_attention_heads", json!(attention.n_heads)),
        ("num_key_value_heads", json!(attention.n_heads)),
        ("q_lora_rank", json!(attention.q_lora_rank)),
        ("kv_lora_rank", json!(attention.kv_lora_rank)),
        ("qk_nope_head_dim", json!(attention.qk_nope_dim)),
        ("qk_rope_head_dim", json!(attention.qk_rope_dim)),
        ("v_head_dim", json!(attention.v_head_dim)),
        ("rope_theta", json!(attention.rope.theta)),
        ("rope_scaling", rope::scaling(&attention.rope)),
        ("max_position_embeddings", json!(attention.max_positions)),
        ("n_routed_experts", json!(moe.n_experts)),
        ("n_shared_experts", json!(moe.n_shared)),
        ("num_experts_per_tok", json!(moe.top_k)),
        ("moe_intermediate_size", json!(moe.expert_hidden)),
        ("moe_layer_freq", json!(1)),
        ("n_group", json!(n_group)),
        ("topk_group", json!(topk_group)),
        ("topk_method", json!("noaux_tc")),
        ("scoring_func", json!("sigmoid")),
        ("norm_topk_prob", json!(moe.normalise)),
        ("routed_scaling_factor", json!(moe.route_scale)),
        ("num_nextn_predict_layers", json!(model.mtp.depth)),
        ("rms_norm_eps", json!(model.norm_eps)),
        ("initializer_range", json!(model.init_std)),
        ("hidden_act", json!("silu")),
        ("attention_bias", json!(false)),
        ("attention_dropout", json!(0.0)),
        ("tie_word_embeddings", json!(false)),
        ("torch_dtype", json!(torch_name(weights))),
    ]
}

fn torch_name(weights: WeightType) -> &'static str {
    match weights {
        WeightType::F32 => "float32",
        WeightType::F16 => "float16",
        WeightType::Bf16 | WeightType::Fp8 => "bfloat16",
    }
}

fn quantisation() -> Value {
    json!({ "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128] })
}

fn object(text: &str) -> Result<Map<String, Value>, ConfigProblems> {
    serde_json::from_str(text).map_err(|error| one("config.json", &error.to_string(), "a JSON object is needed"))
}

fn one(field: &str, value: &str, rule: &str) -> ConfigProblems {
    ConfigProblems(vec![ConfigProblem { field: field.to_owned(), value: value.to_owned(), rule: rule.to_owned() }])
}
