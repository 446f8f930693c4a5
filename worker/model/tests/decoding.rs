//! Decoding with a cache against the full forward pass, in f64.

use ds_arch::{GateScore, GroupLimit, ModelConfig, MtpConfig, MtpInput, RopeConfig, preset};
use ds_model::{
    Cache, Decoded, IGNORED, LossWeights, Microbatch, OneRank, Place, Seen, StageInput, StageModel, StagePart,
};
use tch::{Device, Kind, Tensor};

/// Relative to the greatest logit.
const TOLERANCE: f64 = 1e-10;

fn tiny() -> ModelConfig {
    let mut config = preset("tiny").expect("a preset");
    config.n_layers = 3;
    // Large enough that attention and experts matter.
    config.init_std = 0.3;
    config
}

fn model(config: &ModelConfig) -> StageModel {
    StageModel::new(config, StagePart::whole(config), Device::Cpu, Kind::Double, 3).expect("a model")
}

fn tokens(seed: i64, n: i64) -> Vec<i64> {
    (0..n).map(|i| (i * 7919 + i * i * 31 + seed * 97) % 257).collect()
}

/// Rows of `ids`, padded to the longest.
fn padded(rows: &[&[i64]]) -> Tensor {
    let t = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let flat: Vec<i64> =
        rows.iter().flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(5, t - row.len()))).collect();
    Tensor::from_slice(&flat).view([rows.len() as i64, t as i64])
}

/// Logits of every position and depth by the full forward pass of one sequence: `[depth][t, vocabulary]`.
fn full(model: &StageModel, config: &ModelConfig, ids: &[i64]) -> Vec<Tensor> {
    let t = ids.len() as i64;
    let ids_bt = Tensor::from_slice(ids).view([1, t]);
    let shifted = |by: usize| {
        let later: Vec<i64> = ids[by..].iter().copied().chain(std::iter::repeat_n(0, by)).collect();
        Tensor::from_slice(&later).view([1, t])
    };
    let targets = ids_bt.full_like(IGNORED);
    let mtp = (1..=config.mtp.depth as usize).map(|k| (shifted(k), targets.shallow_clone())).collect();
    let microbatch = Microbatch { ids_bt, targets_bt: targets.shallow_clone(), mtp };
    let mut all = Vec::new();
    let mut watch = |seen: Seen<'_>| {
        if let Seen::Logits { logits, .. } = seen {
            all.push(logits.squeeze_dim(0));
        }
    };
    let input = StageInput { microbatch: &microbatch, hidden: None };
    model.forward_watched(input, &LossWeights::default(), &OneRank, &mut watch).expect("it runs");
    all
}

fn assert_equal(found: &Tensor, expected: &Tensor, what: &str) {
    let error = (found - expected).abs().max().double_value(&[]) / expected.abs().max().double_value(&[]);
    assert!(error < TOLERANCE, "{what}: {error:e}");
}

/// Every way through the cache gives what the full pass gives, for rows of different lengths.
fn check(config: &ModelConfig) {
    let model = model(config);
    let rows = [tokens(1, 23), tokens(2, 17), tokens(3, 20)];
    let expected: Vec<Vec<Tensor>> = rows.iter().map(|row| full(&model, config, row)).collect();
    let prompts = [9_usize, 1, 4];
    let mut cache = model.cache(3, 40);
    let cut = |from: &[usize; 3], to: &[usize; 3]| {
        let parts: Vec<&[i64]> = rows.iter().zip(from).zip(to).map(|((row, &f), &t)| &row[f..t]).collect();
        padded(&parts)
    };
    let compare = |decoded: &Decoded, from: &[usize; 3], to: &[usize; 3], depth: usize| {
        let logits = model.logits(decoded).expect("logits");
        for row in 0..3 {
            for position in from[row]..to[row] {
                let found = logits.get(row as i64).get((position - from[row]) as i64);
                assert_equal(
                    &found,
                    &expected[row][depth].get(position as i64),
                    &format!("depth {depth} row {row} position {position}"),
                );
            }
        }
    };
    let depth = config.mtp.depth as usize;
    // A prompt, then single tokens, then a few at once with the rows out of step.
    let mut from = [0; 3];
    let ends = [prompts, [10, 2, 5], [11, 3, 6], [15, 4, 9], [16, 8, 11], [19, 11, 15]];
    for (step, to) in ends.iter().enumerate() {
        let starts: Vec<i64> = from.iter().map(|&f| f as i64).collect();
        let place = if step == 0 { Place::First } else { Place::From(&starts) };
        let mut decoded = model.decode(&mut cache, &cut(&from, to), place, &OneRank).expect("it runs");
        compare(&decoded, &from, to, 0);
        for k in 1..=depth {
            let ids = cut(&from.map(|f| f + k), &to.map(|t| t + k));
            let stream = decoded.stream;
            decoded = model.decode_mtp(&mut cache, k, (&stream, &ids), place, &OneRank).expect("it runs");
            compare(&decoded, &from, to, k);
        }
        from = *to;
    }
}

#[test]
fn decoding_equals_the_full_pass_with_compressed_queries() {
    check(&tiny());
}

#[test]
fn so_it_does_with_direct_queries_and_the_other_kinds_of_gate_and_mtp() {
    let mut config = tiny();
    config.attention.q_lora_rank = None;
    config.mtp = MtpConfig { depth: 2, input: MtpInput::PreNorm };
    config.moe.score = GateScore::Softmax;
    config.moe.groups = GroupLimit::AnyGroup;
    config.moe.normalise = false;
    config.moe.n_shared = 0;
    check(&config);
}

#[test]
fn so_it_does_under_yarn_and_with_values_of_another_width_than_keys() {
    let mut config = tiny();
    let rope = RopeConfig { factor: 4.0, original_positions: 8, mscale_all_dim: 0.707, ..RopeConfig::plain(100.0) };
    config.attention.rope = rope;
    config.attention.v_head_dim = 12;
    check(&config);
}

#[test]
fn so_it_does_from_the_first_token_on_without_a_prompt_pass() {
    let config = tiny();
    let model = model(&config);
    let ids = tokens(4, 8);
    let expected = full(&model, &config, &ids);
    let mut cache = model.cache(1, 8);
    for (i, &id) in ids.iter().enumerate() {
        let place = [i as i64];
        let decoded = model.decode(&mut cache, &padded(&[&[id]]), Place::From(&place), &OneRank).expect("it runs");
        assert_equal(
            &model.logits(&decoded).expect("logits").get(0).get(0),
            &expected[0].get(i as i64),
            &format!("position {i}"),
        );
    }
}

#[test]
fn a_refused_draft_leaves_no_trace() {
    let config = tiny();
    let model = model(&config);
    let ids = tokens(5, 10);
    let after = |cache: &mut Cache| {
        let decoded = model.decode(cache, &padded(&[&ids[6..8]]), Place::From(&[6]), &OneRank).expect("it runs");
        model.logits(&decoded).expect("logits")
    };
    let prompt = padded(&[&ids[..6]]);
    let (mut clean, mut drafted) = (model.cache(1, 16), model.cache(1, 16));
    for cache in [&mut clean, &mut drafted] {
        model.decode(cache, &prompt, Place::First, &OneRank).expect("it runs");
    }
    model.decode(&mut drafted, &padded(&[&[250, 251, 252, 253]]), Place::From(&[6]), &OneRank).expect("it runs");
    assert_eq!(after(&mut clean), after(&mut drafted));
}

#[test]
fn a_token_costs_576_values_a_layer_at_the_size_of_deepseek_v3() {
    let mut config = preset("deepseek-v3").expect("a preset");
    let attention = config.attention.clone();
    // All that is large and has nothing to do with the cache.
    config = ModelConfig { vocab_size: 8, hidden_size: 8, n_layers: 5, dense_hidden: 8, ..config };
    (config.moe.n_experts, config.moe.expert_hidden, config.moe.groups) = (8, 8, GroupLimit::AnyGroup);
    config.attention.n_heads = 1;
    config.attention.q_lora_rank = Some(8);
    assert_eq!(
        (config.attention.kv_lora_rank, config.attention.qk_rope_dim),
        (attention.kv_lora_rank, attention.qk_rope_dim)
    );
    let (n_rows, n_slots) = (3, 7);
    let cache = model(&config).cache(n_rows, n_slots);
    assert_eq!(cache.n_layers(), 5 + 1);
    assert_eq!(cache.n_values(), 576 * (n_rows * n_slots) as usize * cache.n_layers());
}
