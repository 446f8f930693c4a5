//! The table of parameters has the names and shapes of an independent implementation; `golden/README.md` says whose.

use std::collections::BTreeMap;

use ds_arch::{
    AttentionConfig, BiasUse, GateScore, GroupLimit, GroupScore, ModelConfig, MoeConfig, MtpConfig, MtpInput,
    RopeConfig, gate_bias_name, parameters,
};

fn tiny(q_lora_rank: Option<u32>) -> ModelConfig {
    ModelConfig {
        vocab_size: 256,
        hidden_size: 64,
        n_layers: 4,
        n_dense_layers: 1,
        dense_hidden: 128,
        attention: AttentionConfig {
            n_heads: 4,
            q_lora_rank,
            kv_lora_rank: 16,
            qk_nope_dim: 16,
            qk_rope_dim: 8,
            v_head_dim: 16,
            rope: RopeConfig::plain(10_000.0),
            max_positions: 512,
        },
        moe: MoeConfig {
            n_experts: 16,
            n_shared: 1,
            top_k: 4,
            expert_hidden: 32,
            groups: GroupLimit::AtMost { n_groups: 4, picked: 2 },
            group_score: GroupScore::TwoBest,
            score: GateScore::Sigmoid,
            bias: BiasUse::Added,
            normalise: true,
            route_scale: 2.5,
        },
        mtp: MtpConfig { depth: 1, input: MtpInput::PostNorm },
        norm_eps: 1e-6,
        init_std: 0.02,
    }
}

fn ours(config: &ModelConfig) -> BTreeMap<String, Vec<u32>> {
    let biases = config.moe_layers().map(|layer| (gate_bias_name(layer), vec![config.moe.n_experts]));
    parameters(config).into_iter().map(|p| (p.name, p.shape)).chain(biases).collect()
}

fn theirs(list: &str) -> BTreeMap<String, Vec<u32>> {
    let row = |line: &str| {
        let (name, shape) = line.split_once(' ').expect("a name and a shape");
        (name.to_owned(), shape.split('x').map(|dim| dim.parse().expect("a number")).collect())
    };
    list.lines().map(row).collect()
}

#[test]
fn names_and_shapes_are_those_of_transformers() {
    assert_eq!(ours(&tiny(Some(32))), theirs(include_str!("golden/deepseek_v3_tiny.txt")));
}

#[test]
fn names_and_shapes_are_those_of_transformers_without_query_compression() {
    assert_eq!(ours(&tiny(None)), theirs(include_str!("golden/deepseek_v3_tiny_noqlora.txt")));
}

#[test]
fn a_name_stands_once() {
    for name in ds_arch::PRESETS {
        let table = parameters(&ds_arch::preset(name).unwrap());
        let names: std::collections::BTreeSet<&str> = table.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names.len(), table.len(), "{name}");
    }
}
