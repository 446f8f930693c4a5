//! The network against its definition: names, derivatives, stages in a row.

use std::collections::BTreeMap;

use ds_arch::{GateScore, GroupLimit, LayerId, ModelConfig, MtpInput, gate_bias_name, parameters, preset};
use ds_model::{
    BiasStep, Gradients, IGNORED, LossWeights, Microbatch, ModelError, OneRank, StageForward, StageInput, StageModel,
    StagePart, update_bias,
};
use tch::{Device, Kind, Tensor};

const WEIGHTS: LossWeights = LossWeights { token: 0.01, mtp: 0.004, balance: 0.05, batch_balance: 0.0 };

fn tiny() -> ModelConfig {
    let mut config = preset("tiny").expect("a preset");
    config.n_layers = 3;
    // Large enough that derivatives are far from rounding.
    config.init_std = 0.3;
    config
}

fn model(config: &ModelConfig, part: StagePart) -> StageModel {
    StageModel::new(config, part, Device::Cpu, Kind::Double, 3).expect("a model")
}

fn microbatch(b: i64, t: i64) -> Microbatch {
    let token = |i: i64| (i * 7919 + i * i * 31) % 257;
    let shifted = |by: i64| {
        let values: Vec<i64> = (0..b).flat_map(|s| (by..by + t).map(move |i| token(s * 1000 + i))).collect();
        Tensor::from_slice(&values).view([b, t])
    };
    Microbatch { ids_bt: shifted(0), targets_bt: shifted(1), mtp: vec![(shifted(1), shifted(2))] }
}

fn forward(model: &StageModel, microbatch: &Microbatch, hidden: Option<Tensor>) -> StageForward {
    model.forward(StageInput { microbatch, hidden }, &WEIGHTS, &OneRank).expect("it runs")
}

fn total(forward: &StageForward) -> f64 {
    let losses = forward.losses;
    WEIGHTS.token * losses.loss.0 + WEIGHTS.mtp * losses.mtp.0 + WEIGHTS.balance * losses.balance.0
}

fn gradients(model: &StageModel, microbatch: &Microbatch) -> Gradients {
    let mut gradients = Gradients::zeros(model);
    let saved = forward(model, microbatch, None).saved;
    model.backward(saved, None, &mut gradients, &OneRank).expect("it goes back");
    gradients
}

#[test]
fn real_tensors_are_the_table_of_parameters_name_by_name() {
    for config in [
        tiny(),
        ModelConfig { attention: ds_arch::AttentionConfig { q_lora_rank: None, ..tiny().attention }, ..tiny() },
    ] {
        let model = model(&config, StagePart::whole(&config));
        let mut real = BTreeMap::new();
        for stored in model.parameters() {
            for logical in &stored.logical {
                let tensor = logical.index.map_or_else(|| stored.tensor.shallow_clone(), |i| stored.tensor.get(i));
                assert!(real.insert(logical.name.clone(), (tensor.size(), stored.decays, stored.is_expert)).is_none());
            }
        }
        let table: BTreeMap<_, _> = parameters(&config)
            .into_iter()
            .map(|p| (p.name, (p.shape.iter().map(|&d| i64::from(d)).collect(), p.decays, p.expert.is_some())))
            .collect();
        assert_eq!(real, table);
        let names: Vec<String> = parameters(&config).into_iter().map(|p| p.name).collect();
        let place = |name: &str| names.iter().position(|other| other == name).expect("a name of the table");
        let order: Vec<usize> = model.parameters().iter().map(|stored| place(&stored.logical[0].name)).collect();
        assert!(order.is_sorted(), "tensors stand in the order of the table");
        let biases: Vec<String> = model.biases().iter().map(|(layer, _)| gate_bias_name(*layer)).collect();
        assert_eq!(biases, config.moe_layers().map(gate_bias_name).collect::<Vec<_>>());
    }
}

/// Central differences in f64 along a random direction of every parameter.
fn check_derivatives(config: &ModelConfig) {
    let model = model(config, StagePart::whole(config));
    let microbatch = microbatch(2, 5);
    let gradients = gradients(&model, &microbatch);
    for (stored, gradient) in model.parameters().iter().zip(gradients.tensors()) {
        let direction = Tensor::randn_like(&stored.tensor.detach());
        let loss_at = |step: f64| {
            let moved = stored.tensor.detach() + &direction * step;
            let before = stored.tensor.detach().copy();
            tch::no_grad(|| stored.tensor.shallow_clone().copy_(&moved));
            let loss = total(&forward(&model, &microbatch, None));
            tch::no_grad(|| stored.tensor.shallow_clone().copy_(&before));
            loss
        };
        let step = 1e-6;
        let measured = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        let expected = (gradient * &direction).sum(Kind::Double).double_value(&[]);
        let name = &stored.logical[0].name;
        assert!((measured - expected).abs() <= 1e-5 * (expected.abs() + 1e-2), "{name}: {measured} is not {expected}");
    }
}

#[test]
fn gradients_are_the_derivatives_of_the_loss() {
    check_derivatives(&tiny());
}

#[test]
fn so_they_are_for_the_other_kinds_of_gate_query_and_mtp() {
    let mut config = tiny();
    config.attention.q_lora_rank = None;
    config.mtp = ds_arch::MtpConfig { depth: 1, input: MtpInput::PreNorm };
    config.moe.score = GateScore::Softmax;
    config.moe.groups = GroupLimit::AnyGroup;
    config.moe.normalise = false;
    config.moe.n_shared = 0;
    check_derivatives(&config);
}

#[test]
fn two_stages_in_a_row_are_one() {
    let config = tiny();
    let whole = model(&config, StagePart::whole(&config));
    let first = StagePart { layers: 0..2, scores: false, mtp_layers: 3..3, ..StagePart::whole(&config) };
    let second = StagePart { embeds: false, layers: 2..3, ..StagePart::whole(&config) };
    let (first, second) = (model(&config, first), model(&config, second));
    let microbatch = microbatch(2, 6);
    let expected = gradients(&whole, &microbatch);

    let mut parts = (Gradients::zeros(&first), Gradients::zeros(&second));
    let one = forward(&first, &microbatch, None);
    let two = forward(&second, &microbatch, one.output);
    let back = second.backward(two.saved, None, &mut parts.1, &OneRank).expect("it goes back");
    let nothing = first.backward(one.saved, back, &mut parts.0, &OneRank).expect("it goes back");
    assert!(nothing.is_none(), "the first stage has nobody to tell");

    let mut sums: BTreeMap<String, Tensor> = BTreeMap::new();
    for (model, gradients) in [(&first, &parts.0), (&second, &parts.1)] {
        for (stored, gradient) in model.parameters().iter().zip(gradients.tensors()) {
            let name = stored.logical[0].name.clone();
            let sum = sums.remove(&name).map_or_else(|| gradient.copy(), |sum| sum + gradient);
            sums.insert(name, sum);
        }
    }
    assert_eq!(sums.len(), whole.parameters().len(), "the shared embedding counts once");
    for (stored, gradient) in whole.parameters().iter().zip(expected.tensors()) {
        let name = &stored.logical[0].name;
        assert!(sums[name].allclose(gradient, 1e-12, 1e-14, false), "{name}");
    }
}

#[test]
fn loads_count_the_choices_of_tokens_whose_target_counts() {
    let config = tiny();
    let model = model(&config, StagePart::whole(&config));
    let microbatch = microbatch(2, 8);
    let load = |microbatch: &Microbatch| -> f64 { forward(&model, microbatch, None).loads[0].1.iter().sum() };
    assert_eq!(load(&microbatch), 16.0 * f64::from(config.moe.top_k));
    let _ = microbatch.targets_bt.narrow(1, 6, 2).fill_(IGNORED);
    assert_eq!(load(&microbatch), 12.0 * f64::from(config.moe.top_k));
    let layers: Vec<LayerId> = forward(&model, &microbatch, None).loads.into_iter().map(|(layer, _)| layer).collect();
    assert_eq!(layers, config.moe_layers().collect::<Vec<_>>());
}

#[test]
fn a_bias_draws_tokens_away_from_full_experts() {
    let config = tiny();
    let model = model(&config, StagePart::whole(&config));
    let microbatch = microbatch(4, 32);
    let spread = || {
        let load = &forward(&model, &microbatch, None).loads[0].1;
        load.iter().copied().fold(0.0, f64::max) * load.len() as f64 / load.iter().sum::<f64>()
    };
    let before = spread();
    for _ in 0..200 {
        let loads = forward(&model, &microbatch, None).loads;
        update_bias(&model.biases()[0].1, &loads[0].1, BiasStep::Sign, 0.005);
    }
    assert!(spread() < before.min(1.3), "{before} before, {} after", spread());
}

#[test]
fn a_pass_without_weights_keeps_nothing_and_gives_the_same_losses() {
    let config = tiny();
    let model = model(&config, StagePart::whole(&config));
    let microbatch = microbatch(2, 5);
    let input = StageInput { microbatch: &microbatch, hidden: None };
    let silent = model.forward(input, &LossWeights::default(), &OneRank).expect("it runs");
    assert_eq!(silent.losses, forward(&model, &microbatch, None).losses);
}

#[test]
fn padding_does_not_change_the_loss_of_other_sequences() -> Result<(), ModelError> {
    let config = tiny();
    let model = model(&config, StagePart::whole(&config));
    let short = microbatch(1, 6);
    let pad = |t: &Tensor, value: i64| Tensor::cat(&[t.shallow_clone(), t.full_like(value)], 0);
    let long = Microbatch {
        ids_bt: pad(&short.ids_bt, 0),
        targets_bt: pad(&short.targets_bt, IGNORED),
        mtp: short.mtp.iter().map(|(ids, targets)| (pad(ids, 0), pad(targets, IGNORED))).collect(),
    };
    let (short, long) = (forward(&model, &short, None).losses, forward(&model, &long, None).losses);
    assert!((short.loss.0 - long.loss.0).abs() < 1e-10 && short.loss.1 == long.loss.1);
    assert!((short.mtp.0 - long.mtp.0).abs() < 1e-10 && short.mtp.1 == long.mtp.1);
    Ok(())
}

#[test]
fn initial_weights_do_not_depend_on_the_part_that_holds_them() {
    let config = tiny();
    let whole = model(&config, StagePart::whole(&config));
    let part = StagePart { embeds: false, layers: 1..2, scores: false, mtp_layers: 3..3, experts: 4..6 };
    let part = model(&config, part);
    let values = |model: &StageModel| -> BTreeMap<String, Vec<f64>> {
        let rows = model.parameters().iter().flat_map(|stored| {
            stored.logical.iter().map(|logical| {
                let tensor = logical.index.map_or_else(|| stored.tensor.shallow_clone(), |i| stored.tensor.get(i));
                (logical.name.clone(), Vec::<f64>::try_from(tensor.detach().reshape([-1])).expect("values"))
            })
        });
        rows.collect()
    };
    let whole = values(&whole);
    let part = values(&part);
    assert!(part.keys().any(|name| name.contains("experts.5")) && !part.keys().any(|name| name.contains("experts.6")));
    for (name, values) in part {
        assert_eq!(values, whole[&name], "{name}");
    }
}

#[test]
fn weights_of_zero_leave_parts_out() {
    let config = tiny();
    let model = model(&config, StagePart::whole(&config));
    let microbatch = microbatch(2, 5);
    let norms = |weights: LossWeights| -> BTreeMap<String, f64> {
        let input = StageInput { microbatch: &microbatch, hidden: None };
        let forward = model.forward(input, &weights, &OneRank).expect("it runs");
        let mut gradients = Gradients::zeros(&model);
        model.backward(forward.saved, None, &mut gradients, &OneRank).expect("it goes back");
        let names = model.parameters().iter().map(|stored| stored.logical[0].name.clone());
        names.zip(gradients.tensors().iter().map(|g| g.norm().double_value(&[]))).collect()
    };
    let balance = norms(LossWeights { balance: 1.0, ..LossWeights::default() });
    assert!(balance["model.layers.3.mlp.gate.weight"] > 0.0 && balance["lm_head.weight"] == 0.0);
    assert_eq!(balance["model.layers.3.mlp.experts.0.gate_proj.weight"], 0.0, "nothing is behind the last experts");
    let token = norms(LossWeights { token: 1.0, ..LossWeights::default() });
    assert!(token["lm_head.weight"] > 0.0 && token["model.layers.3.eh_proj.weight"] == 0.0);
}
