//! config.json: both spellings mean the same, the way back means the same, and what is not ours is refused with
//! everything that is wrong.

use std::path::PathBuf;

use ds_arch::hugging_face::{WeightType, read, write};
use ds_arch::{BiasUse, GateScore, GroupLimit, GroupScore, ModelConfig, MtpInput, RopeConfig, preset};
use serde_json::{Value, json};

const CASES: [&str; 4] = ["tiny", "tiny_yarn", "tiny_noqlora", "tiny_nonorm"];

fn text(case: &str, spelling: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/configs");
    std::fs::read_to_string(folder.join(format!("{case}.{spelling}.json"))).expect(case)
}

fn model(text: &str) -> ModelConfig {
    read(text).unwrap_or_else(|problems| panic!("{problems}")).model
}

/// The released file's text with other fields.
fn with(fields: &Value) -> String {
    let mut config: Value = serde_json::from_str(&text("tiny", "released")).expect("JSON");
    let config = config.as_object_mut().expect("an object");
    for (name, value) in fields.as_object().expect("an object") {
        config.insert(name.clone(), value.clone());
    }
    serde_json::to_string(config).expect("JSON")
}

#[test]
fn both_spellings_mean_the_same() {
    for case in CASES {
        let mut released: Value = serde_json::from_str(&text(case, "released")).unwrap();
        let both = model(&released.to_string());
        released.as_object_mut().unwrap().remove("rope_parameters").expect("it has both");
        assert_eq!(model(&released.to_string()), both, "{case}");
        assert_eq!(model(&text(case, "new")), both, "{case}");
    }
}

#[test]
fn the_numbers_stand_where_they_belong() {
    let tiny = model(&text("tiny", "new"));
    assert_eq!((tiny.n_layers, tiny.n_dense_layers, tiny.dense_hidden, tiny.moe.expert_hidden), (4, 1, 128, 32));
    assert_eq!((tiny.attention.q_lora_rank, tiny.attention.kv_lora_rank, tiny.mtp.depth), (Some(32), 16, 1));
    assert_eq!(tiny.moe.groups, GroupLimit::AtMost { n_groups: 4, picked: 2 });
    assert_eq!((tiny.moe.top_k, tiny.moe.route_scale, tiny.moe.score), (4, 2.5, GateScore::Sigmoid));
    assert_eq!(tiny.attention.rope, RopeConfig::plain(10_000.0));
    let yarn = model(&text("tiny_yarn", "new")).attention;
    assert_eq!((yarn.rope.factor, yarn.rope.original_positions, yarn.max_positions), (40.0, 4096, 163_840));
    let other = model(&text("tiny_nonorm", "new")).moe;
    assert_eq!((other.groups, other.normalise), (GroupLimit::AnyGroup, false));
    assert_eq!(model(&text("tiny_noqlora", "new")).attention.q_lora_rank, None);
}

#[test]
fn what_is_written_reads_as_it_was() {
    let mut models: Vec<ModelConfig> = CASES.iter().map(|case| model(&text(case, "new"))).collect();
    models.extend(["deepseek-v3", "bard", "tiny"].map(|name| preset(name).expect("a preset")));
    let mut odd = models[0].clone();
    odd.mtp.input = MtpInput::PreNorm;
    odd.attention.rope = RopeConfig { factor: 4.0, mscale: 0.707, mscale_all_dim: 1.25, ..RopeConfig::plain(5e5) };
    odd.moe.route_scale = 0.1 + 0.2;
    models.push(odd);
    for model in models {
        for weights in [WeightType::F32, WeightType::Bf16, WeightType::F16, WeightType::Fp8] {
            for kept in [None, Some(text("tiny_yarn", "new"))] {
                let again = read(&write(&model, weights, kept.as_deref()).unwrap()).unwrap();
                assert_eq!((again.model, again.is_quantised), (model.clone(), weights == WeightType::Fp8));
            }
        }
    }
}

#[test]
fn what_says_nothing_about_the_network_is_kept() {
    let kept = with(&json!({ "bos_token_id": 7, "auto_map": { "AutoModel": "x.Y" } }));
    let again: Value = serde_json::from_str(&write(&model(&kept), WeightType::Bf16, Some(&kept)).unwrap()).unwrap();
    assert_eq!((&again["bos_token_id"], &again["auto_map"]["AutoModel"]), (&json!(7), &json!("x.Y")));
    assert_eq!((&again["torch_dtype"], again.get("dtype")), (&json!("bfloat16"), None));
}

#[test]
fn every_value_that_is_not_ours_is_refused_with_its_rule() {
    let cases = [
        (json!({ "model_type": "llama" }), "model_type is \"llama\", but only DeepseekV3ForCausalLM"),
        (json!({ "architectures": ["LlamaForCausalLM"] }), "architectures is [\"LlamaForCausalLM\"], but only"),
        (json!({ "hidden_size": 0 }), "hidden_size is 0, but a whole number from 1 to 16777216 is needed"),
        (json!({ "hidden_size": -3 }), "hidden_size is -3, but"),
        (json!({ "hidden_size": 1e300 }), "hidden_size is 1e+300, but"),
        (json!({ "vocab_size": null }), "vocab_size is null, but a whole number"),
        (json!({ "hidden_act": "gelu" }), "hidden_act is \"gelu\", but only \"silu\" is known"),
        (json!({ "attention_bias": true }), "attention_bias is true, but only false"),
        (json!({ "attention_dropout": 0.1 }), "attention_dropout is 0.1, but only 0"),
        (json!({ "tie_word_embeddings": true }), "tie_word_embeddings is true, but"),
        (json!({ "rope_interleave": false }), "rope_interleave is false, but"),
        (json!({ "scoring_func": "softmax" }), "scoring_func is \"softmax\", but only \"sigmoid\""),
        (json!({ "topk_method": "greedy" }), "topk_method is \"greedy\", but"),
        (json!({ "moe_layer_freq": 2 }), "moe_layer_freq is 2, but only 1"),
        (
            json!({ "num_key_value_heads": 2 }),
            "num_key_value_heads is 2, but latent attention has num_attention_heads 4",
        ),
        (json!({ "first_k_dense_replace": 9 }), "first_k_dense_replace is 9, but there are num_hidden_layers 4"),
        (
            json!({ "qk_rope_head_dim": 7, "qk_head_dim": null }),
            "qk_rope_head_dim is 7, but rotary positions turn pairs",
        ),
        (json!({ "qk_head_dim": 25 }), "qk_head_dim is 25, but qk_nope_head_dim and qk_rope_head_dim are 24 together"),
        (json!({ "n_group": 3 }), "n_group is 3, but it must divide n_routed_experts 16"),
        (json!({ "topk_group": 5 }), "topk_group is 5, but there are n_group 4"),
        (json!({ "num_experts_per_tok": 9 }), "num_experts_per_tok is 9, but topk_group 2 of n_group 4 hold 8 experts"),
        (
            json!({ "num_attention_heads": 4096, "v_head_dim": 1 << 24, "num_key_value_heads": 4096 }),
            "num_attention_heads",
        ),
        (json!({ "rms_norm_eps": 0 }), "rms_norm_eps is 0, but a number above 0 is needed"),
        (json!({ "norm_topk_prob": "yes" }), "norm_topk_prob is \"yes\", but true or false"),
        (json!({ "rope_scaling": { "type": "linear", "factor": 2 } }), "rope_scaling.type is \"linear\", but only"),
        (json!({ "rope_scaling": { "type": "yarn" } }), "rope_scaling.factor is missing, but a number above 0"),
        (json!({ "rope_parameters": 3 }), "rope_parameters is 3, but an object or null"),
        (json!({ "rope_theta": 5.0 }), "but rope_theta and rope_scaling beside it say something else"),
        (json!({ "quantization_config": { "quant_method": "awq" } }), "quantization_config.quant_method is \"awq\""),
        (
            json!({ "quantization_config": { "quant_method": "fp8", "weight_block_size": [64, 64] } }),
            "quantization_config.weight_block_size is [64,64], but blocks of [128,128] are needed",
        ),
        (json!({ "mtp_input": "middle" }), "mtp_input is \"middle\", but"),
    ];
    for (fields, expected) in cases {
        let problems = read(&with(&fields)).expect_err(expected).to_string();
        assert!(problems.contains(expected), "{problems}\nlacks: {expected}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let config = with(&json!({ "hidden_act": "gelu", "vocab_size": 0, "n_group": 3, "model_type": "other" }));
    assert_eq!(read(&config).unwrap_err().0.len(), 4);
    assert!(read("{}").unwrap_err().0.len() > 10);
}

#[test]
fn what_is_no_config_is_said_so() {
    for (text, expected) in [("", "JSON is needed"), ("[1]", "a JSON object is needed"), ("{\"a\":", "JSON is needed")]
    {
        assert!(read(text).unwrap_err().to_string().contains(expected), "{text}");
    }
}

#[test]
fn a_gate_that_the_format_has_no_word_for_is_not_written() {
    let softmax = preset("deepseek-v2-lite").unwrap();
    assert!(write(&softmax, WeightType::Bf16, None).unwrap_err().to_string().contains("softmax"));
    let mut other = preset("deepseek-v3").unwrap();
    (other.moe.group_score, other.moe.bias) = (GroupScore::Best, BiasUse::Factor);
    assert_eq!(write(&other, WeightType::Bf16, None).unwrap_err().0.len(), 2);
}
