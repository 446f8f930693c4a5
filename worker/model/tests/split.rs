//! Backward in two parts, and beside a forward pass: the same gradients as at once, by the same products, each of them once.
//!
//! One test, since products are counted for the whole process.

use ds_arch::{ModelConfig, preset};
use ds_kernels::fp8::ScaleRule;
use ds_kernels::{ProductCounts, fp8, fused};
use ds_model::{
    Gradients, LossWeights, Microbatch, OneRank, Precision, Products, StageInput, StageModel, StagePart, WeightWork,
};
use tch::{Device, Kind, Tensor};

const WEIGHTS: LossWeights = LossWeights { token: 0.01, mtp: 0.004, balance: 0.05, batch_balance: 0.01 };
const TOKENS: [i64; 2] = [2, 24];

fn microbatch(seed: i64) -> Microbatch {
    let [b, t] = TOKENS;
    let shifted = |by: i64| {
        let token = |i: i64| ((i + by) * 7919 + (i + by) * (i + by) * 31 + seed) % 257;
        Tensor::from_slice(&(0..b * t).map(token).collect::<Vec<_>>()).view([b, t])
    };
    Microbatch { ids_bt: shifted(0), targets_bt: shifted(1), mtp: vec![(shifted(1), shifted(2))] }
}

/// Products so far: forward, of input gradients, of weight gradients.
fn products() -> [u64; 3] {
    let of = |counts: ProductCounts| [counts.forward, counts.input_gradient, counts.weight_gradient];
    let (plain, codes) = (of(fused::product_counts()), of(fp8::product_counts()));
    [0, 1, 2].map(|i| plain[i] + codes[i])
}

fn since(before: [u64; 3]) -> [u64; 3] {
    let now = products();
    [0, 1, 2].map(|i| now[i] - before[i])
}

/// Gradients of two microbatches, and the products of their backward.
fn at_once(model: &StageModel) -> (Gradients, [u64; 3]) {
    let mut gradients = Gradients::zeros(model);
    let before = products();
    for seed in [0, 5] {
        let input = StageInput { microbatch: &microbatch(seed), hidden: None };
        let forward = model.forward(input, &WEIGHTS, &OneRank).expect("it runs");
        model.backward(forward.saved, None, &mut gradients, &OneRank).expect("it goes back");
    }
    (gradients, since(before))
}

/// Likewise, with all weight gradients after all input gradients.
fn in_two_parts(model: &StageModel) -> (Gradients, [u64; 3]) {
    let mut gradients = Gradients::zeros(model);
    let before = products();
    let left = [0, 5].map(|seed| {
        let input = StageInput { microbatch: &microbatch(seed), hidden: None };
        let forward = model.forward(input, &WEIGHTS, &OneRank).expect("it runs");
        model.backward_input(forward.saved, None, &mut gradients, &OneRank).expect("it goes back").1
    });
    let [forward, inputs, weights] = since(before);
    assert!(forward > 0 && inputs > 0, "products are counted");
    assert_eq!(weights, 0, "weight gradients wait");
    left.into_iter().for_each(|left| left.run(&mut gradients).expect("weights have gradients"));
    (gradients, since(before))
}

/// Likewise, with the second forward beside the first backward.
fn side_by_side(model: &StageModel) -> (Gradients, [u64; 3]) {
    let (mut gradients, mut left) = (Gradients::zeros(model), WeightWork::default());
    let before = products();
    let [first, second] = [0, 5].map(microbatch);
    let input = |microbatch| StageInput { microbatch, hidden: None };
    let forward = model.forward(input(&first), &WEIGHTS, &OneRank).expect("it runs");
    let beside = (0, input(&second), &WEIGHTS);
    let sums = (&mut gradients, Some(&mut left));
    let (forward, _) =
        model.forward_beside_backward(beside, (forward.saved, None), sums, (&OneRank, &mut |_| ())).expect("both run");
    left.run(&mut gradients).expect("weights have gradients");
    model.backward(forward.saved, None, &mut gradients, &OneRank).expect("it goes back");
    (gradients, since(before))
}

fn check(config: &ModelConfig, precision: Precision, recomputes: bool) {
    let mut model = StageModel::new(config, StagePart::whole(config), Device::Cpu, precision, 3).expect("a model");
    if recomputes {
        model.recompute();
    }
    let (expected, counts) = at_once(&model);
    for (how, (found, found_counts)) in [("in two parts", in_two_parts(&model)), ("side by side", side_by_side(&model))]
    {
        assert_eq!(counts, found_counts, "{precision:?} {how}: products");
        for ((a, b), parameter) in expected.tensors().iter().zip(found.tensors()).zip(model.parameters()) {
            assert!(a.equal(b), "{precision:?} {how}: the gradient of {} is another", parameter.logical[0].name);
        }
    }
}

#[test]
fn gradients_are_the_same_bit_for_bit_and_no_product_runs_twice() {
    let mut config = preset("tiny").expect("a preset");
    config.n_layers = 4;
    let fp8 = Precision { kind: Kind::BFloat16, products: Products::Fp8(ScaleRule::Exact) };
    for precision in [Kind::Double.into(), Kind::Float.into(), Kind::BFloat16.into(), fp8] {
        for recomputes in [false, true] {
            check(&config, precision, recomputes);
        }
    }
}
