//! The network on a CUDA card, with its kernels, against the network on the CPU.

use std::io::Write as _;

use ds_arch::{AttentionConfig, GateScore, GroupLimit, ModelConfig, preset};
use ds_kernels::fp8::ScaleRule;
use ds_model::{Gradients, LossWeights, Microbatch, OneRank, Precision, Products, StageInput, StageModel, StagePart};
use tch::{Device, Kind, Tensor};

const WEIGHTS: LossWeights = LossWeights { token: 0.01, mtp: 0.004, balance: 0.05, batch_balance: 0.0 };

fn tiny() -> ModelConfig {
    let mut config = preset("tiny").expect("a preset");
    (config.n_layers, config.init_std) = (3, 0.1);
    config
}

fn microbatch(device: Device) -> Microbatch {
    let shifted = |by: i64| {
        let values: Vec<i64> = (by..by + 96).map(|i| (i * 7919 + i * i * 31) % 257).collect();
        Tensor::from_slice(&values).view([2, 48]).to_device(device)
    };
    Microbatch { ids_bt: shifted(0), targets_bt: shifted(1), mtp: vec![(shifted(1), shifted(2))] }
}

/// Sums of losses, and gradients.
fn step(config: &ModelConfig, device: Device, precision: Precision) -> (f64, Vec<Tensor>) {
    let model = StageModel::new(config, StagePart::whole(config), device, precision, 3).expect("a model");
    let mut gradients = Gradients::zeros(&model);
    let microbatch = microbatch(device);
    let input = StageInput { microbatch: &microbatch, hidden: None };
    let forward = model.forward(input, &WEIGHTS, &OneRank).expect("it runs");
    let loss = forward.losses.loss.0 + forward.losses.mtp.0;
    model.backward(forward.saved, None, &mut gradients, &OneRank).expect("it goes back");
    (loss, gradients.tensors().iter().map(|g| g.to_device(Device::Cpu).to_kind(Kind::Double)).collect())
}

/// Relative to each gradient's norm.
fn check(config: &ModelConfig, precision: Precision, of_loss: f64, of_gradients: f64) {
    let (loss, gradients) = step(config, Device::Cuda(0), precision);
    let (expected, exact) = step(config, Device::Cpu, precision);
    assert!((loss - expected).abs() <= of_loss * expected, "{precision:?}: {loss} on the card, {expected} on the CPU");
    for (i, (found, want)) in gradients.iter().zip(&exact).enumerate() {
        let (apart, norm) = ((found - want).norm().double_value(&[]), want.norm().double_value(&[]));
        assert!(apart <= of_gradients * norm, "{precision:?}, gradient {i}: {apart:e} apart of {norm:e}");
    }
}

#[test]
fn a_step_on_a_card_is_a_step_on_the_cpu() {
    if let Err(reason) = ds_kernels::load_cuda().and_then(|()| ds_kernels::cuda::prepare(0)) {
        let _ = writeln!(std::io::stderr(), "NOT RUN: no CUDA device ({reason})");
        return;
    }
    let others = ModelConfig {
        attention: AttentionConfig { q_lora_rank: None, ..tiny().attention },
        moe: ds_arch::MoeConfig {
            score: GateScore::Softmax,
            normalise: false,
            groups: GroupLimit::AtMost { n_groups: 2, picked: 1 },
            ..tiny().moe
        },
        ..tiny()
    };
    for config in [tiny(), others] {
        check(&config, Kind::Float.into(), 1e-5, 1e-3);
        // A rounding may flip a choice of experts, which moves gradients of few tokens.
        check(&config, Kind::BFloat16.into(), 1e-2, 0.2);
        let fp8 = Precision { kind: Kind::BFloat16, products: Products::Fp8(ScaleRule::Exact) };
        check(&config, fp8, 1e-2, 0.3);
    }
    if let Err(reason) = ds_kernels::fp8::prepare_products(0) {
        let _ = writeln!(std::io::stderr(), "NOT RUN: the card's own FP8 products ({reason})");
        return;
    }
    check(&tiny(), Precision { kind: Kind::BFloat16, products: Products::Fp8(ScaleRule::Exact) }, 1e-2, 0.3);
}
