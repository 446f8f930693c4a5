//! What backward computes again: the same gradients, bit for bit, from fewer bytes.
//!
//! One test, since bytes are counted for the whole process.

use ds_arch::{ModelConfig, preset};
use ds_kernels::fp8::ScaleRule;
use ds_kernels::{count_bytes, live_bytes, peak_bytes, restart_peak};
use ds_model::{Gradients, LossWeights, Microbatch, OneRank, Precision, Products, StageInput, StageModel, StagePart};
use tch::{Device, Kind, Tensor};

const WEIGHTS: LossWeights = LossWeights { token: 0.01, mtp: 0.004, balance: 0.05, batch_balance: 0.01 };
const TOKENS: [i64; 2] = [2, 96];

fn microbatch() -> Microbatch {
    let [b, t] = TOKENS;
    let shifted = |by: i64| {
        let token = |i: i64| ((i + by) * 7919 + (i + by) * (i + by) * 31) % 257;
        Tensor::from_slice(&(0..b * t).map(token).collect::<Vec<_>>()).view([b, t])
    };
    Microbatch { ids_bt: shifted(0), targets_bt: shifted(1), mtp: vec![(shifted(1), shifted(2))] }
}

/// A step's gradients, the bytes that forward keeps, and the most that lived at a time beside what lived before.
fn step(config: &ModelConfig, precision: Precision, recomputes: bool) -> (Gradients, u64, u64) {
    let mut model = StageModel::new(config, StagePart::whole(config), Device::Cpu, precision, 3).expect("a model");
    if recomputes {
        model.recompute();
    }
    let (microbatch, mut gradients) = (microbatch(), Gradients::zeros(&model));
    let before = live_bytes();
    restart_peak();
    let input = StageInput { microbatch: &microbatch, hidden: None };
    let forward = model.forward(input, &WEIGHTS, &OneRank).expect("it runs");
    let kept = live_bytes() - before;
    model.backward(forward.saved, None, &mut gradients, &OneRank).expect("it goes back");
    (gradients, kept, peak_bytes() - before)
}

/// Bytes of a token in what is computed again: norms, and queries, keys and values as attention reads them.
fn again(config: &ModelConfig, kind: Kind) -> u64 {
    let a = &config.attention;
    let n_layers = u64::from(config.n_layers + config.mtp.depth);
    let latents = a.q_lora_rank.unwrap_or(0) + a.kv_lora_rank;
    let of_layer = u64::from(2 * config.hidden_size + latents + 3 * a.n_heads * a.qk_dim());
    n_layers * of_layer * kind.elt_size_in_bytes() as u64
}

#[test]
fn gradients_are_the_same_bit_for_bit_and_fewer_bytes_live() {
    count_bytes();
    let mut config = preset("tiny").expect("a preset");
    config.n_layers = 4;
    let direct = ModelConfig {
        attention: ds_arch::AttentionConfig { q_lora_rank: None, ..config.attention.clone() },
        ..config.clone()
    };
    let fp8 = Precision { kind: Kind::BFloat16, products: Products::Fp8(ScaleRule::Exact) };
    for (config, precision) in [
        (&config, Kind::Double.into()),
        (&config, Kind::Float.into()),
        (&direct, Kind::Float.into()),
        (&config, Kind::BFloat16.into()),
        (&config, fp8),
    ] {
        let (expected, kept, peak) = step(config, precision, false);
        let (found, kept_less, peak_less) = step(config, precision, true);
        for (i, (a, b)) in expected.tensors().iter().zip(found.tensors()).enumerate() {
            assert!(a.equal(b), "{precision:?}: gradient {i} of {:?} is another", a.size());
        }
        let saved = again(config, precision.kind) * (TOKENS[0] * TOKENS[1]) as u64;
        eprintln!("{precision:?}: kept {kept} -> {kept_less} (at least {saved} less), peak {peak} -> {peak_less}");
        assert!(kept_less + saved <= kept, "{precision:?}: {kept_less} bytes are kept, and {kept} without");
        assert!(peak_less < peak, "{precision:?}: {peak_less} bytes at most, and {peak} without");
    }
}
