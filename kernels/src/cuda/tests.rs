//! The kernels against their twins: their sources run on the CPU, and on a card where there is one.

use std::cell::Cell;

use tch::{Device, Kind, Tensor};

use super::emulated::in_every_order;
use super::{
    BiasUse, GateRule, Gated, Score, Weight, adamw, combine, combine_backward, gate, gather, place, prepare, quantise,
    rms_norm, rms_norm_backward, spread, swiglu, swiglu_backward,
};
use crate::fp8::{self, LEAST, LEAST_GRADIENT, Quantised, ScaleRule, Scaling};
use crate::{AdamW, fused_adamw};

/// Formats, and how far results may be apart relative to the largest element.
const FORMATS: [(Kind, f64); 2] = [(Kind::Float, 2e-6), (Kind::BFloat16, 8e-3)];

thread_local! {
    static HERE: Cell<Device> = const { Cell::new(Device::Cpu) };
}

/// Where this thread's tests compute; on the CPU that is the emulation.
fn here() -> Device {
    HERE.get()
}

/// Past the capture of the test harness, which would swallow it.
pub(super) fn not_run(why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "NOT RUN: {why}");
}

#[test]
fn a_card_computes_what_the_emulation_does() {
    if let Err(reason) = crate::load_cuda().and_then(|()| prepare(0)) {
        not_run(&format!("no CUDA device ({reason})"));
        return;
    }
    HERE.set(Device::Cuda(0));
    codes_and_scales_are_those_of_the_twin_to_the_byte();
    every_rounding_of_e4m3_is_that_of_libtorch();
    what_is_not_finite_spoils_its_own_tile_and_no_other();
    norms_and_their_gradients_are_those_of_the_twin();
    swiglu_and_its_gradient_are_those_of_the_twin();
    an_update_is_that_of_the_twin();
    places_are_those_of_a_stable_sort();
    rows_go_to_their_places_and_come_back();
    the_gate_chooses_and_weighs_by_its_definition();
    the_gates_gradient_is_that_of_its_definition();
    logits_that_are_no_numbers_still_get_experts_that_exist();
    HERE.set(Device::Cpu);
}

fn random(size: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(size, (Kind::Float, here())).to_kind(kind)
}

/// The same, at an address that no vector may be read from.
fn shifted(x: &Tensor) -> Tensor {
    let room = Tensor::zeros([x.numel() as i64 + 1], (x.kind(), x.device())).narrow(0, 1, x.numel() as i64);
    room.shallow_clone().copy_(&x.reshape([-1]));
    room.view_as(x)
}

fn close(what: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
    assert_eq!((got.size(), got.isfinite().all().int64_value(&[])), (want.size(), 1), "{what}");
    let (got, want) = (got.to_kind(Kind::Double), want.to_kind(Kind::Double));
    let apart = (&got - &want).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
    assert!(apart <= tolerance, "{what}: {apart:e} apart, {tolerance:e} allowed");
}

fn bytes(q: &Quantised) -> (Vec<i64>, Vec<i64>) {
    let read =
        |x: Tensor| Vec::<i64>::try_from(x.reshape([-1]).to_kind(Kind::Int64).to_device(Device::Cpu)).expect("numbers");
    (read(q.codes.view_dtype(Kind::Uint8)), read(q.scales.view_dtype(Kind::Int)))
}

/// Both rules, all scalings, of activations and of gradients.
fn same_bytes(x: &Tensor) {
    let on_cpu = x.to_device(Device::Cpu);
    for (scaling, rule) in [Scaling::Tiles, Scaling::Upright, Scaling::Blocks]
        .into_iter()
        .flat_map(|scaling| [ScaleRule::Exact, ScaleRule::PowerOfTwo].map(|rule| (scaling, rule)))
    {
        let twins = [(LEAST, fp8::quantise as Twin), (LEAST_GRADIENT, fp8::quantise_gradient)];
        for (least, twin) in twins {
            let found = in_every_order(|| bytes(&quantise(x, scaling, rule, least).expect("codes")));
            assert_eq!(found, bytes(&twin(&on_cpu, scaling, rule)), "{:?} {scaling:?} {rule:?} {least:e}", x.size());
        }
    }
}

type Twin = fn(&Tensor, Scaling, ScaleRule) -> Quantised;

#[test]
fn codes_and_scales_are_those_of_the_twin_to_the_byte() {
    tch::manual_seed(1);
    for (kind, _) in FORMATS {
        // Whole, ragged by whole vectors, and ragged by less.
        for size in [[128, 256], [130, 136], [3, 129], [1, 5]] {
            // Magnitudes from denormal codes to the greatest.
            let x = random(&size, Kind::Float) * random(&size, Kind::Float).exp().pow_tensor_scalar(3);
            same_bytes(&x.to_kind(kind));
        }
        same_bytes(&shifted(&random(&[4, 256], kind)));
        same_bytes(&Tensor::zeros([2, 128], (kind, here())));
        // As small as gradients are.
        same_bytes(&(random(&[3, 130], Kind::Float) * 1e-9).to_kind(kind));
    }
}

#[test]
fn every_rounding_of_e4m3_is_that_of_libtorch() {
    // A tile whose scale is one: every code's number, the middle to the next, and its neighbours.
    let bits = Tensor::arange(0x7f, (Kind::Uint8, here()));
    let numbers = bits.view_dtype(Kind::Float8e4m3fn).to_kind(Kind::Float);
    let middles = (numbers.narrow(0, 0, 126) + numbers.narrow(0, 1, 126)) * 0.5;
    let beside = |by: i64| (middles.view_dtype(Kind::Int) + by).to_kind(Kind::Int).view_dtype(Kind::Float);
    let row = |x: &Tensor| {
        Tensor::cat(&[x.narrow(0, 0, 126), numbers.narrow(0, 126, 1), Tensor::zeros([1], (Kind::Float, here()))], 0)
    };
    let rows = Tensor::stack(&[row(&numbers), row(&middles), row(&beside(1)), row(&beside(-1))], 0);
    same_bytes(&Tensor::cat(&[&rows, &rows.neg()], 0));
}

#[test]
fn what_is_not_finite_spoils_its_own_tile_and_no_other() {
    for bad in [f64::NAN, f64::INFINITY] {
        let x = random(&[2, 256], Kind::BFloat16);
        let _ = x.get(1).narrow(0, 130, 1).fill_(bad);
        for rule in [ScaleRule::Exact, ScaleRule::PowerOfTwo] {
            let found = quantise(&x, Scaling::Tiles, rule, LEAST).expect("codes").dequantise();
            let is_bad = found.isfinite().logical_not();
            assert!(is_bad.get(1).narrow(0, 128, 128).all().int64_value(&[]) == 1, "{bad} {rule:?}");
            assert_eq!(is_bad.sum(Kind::Int64).int64_value(&[]), 128, "{bad} {rule:?}");
        }
    }
}

fn list(x: &Tensor) -> Vec<f64> {
    Vec::try_from(x.reshape([-1]).to_kind(Kind::Double).to_device(Device::Cpu)).expect("numbers")
}

#[test]
fn norms_and_their_gradients_are_those_of_the_twin() {
    for (kind, tolerance) in FORMATS {
        // Less than a warp, several passes of eight, ragged; more rows than a block sums.
        for size in [[3, 64], [2, 4104], [20, 37], [33, 512]] {
            let (x, w, dy) = (random(&size, kind), random(&size[1..], kind), random(&size, kind));
            let leaf = |t: &Tensor| t.to_kind(Kind::Double).set_requires_grad(true);
            let (exact_x, exact_w) = (leaf(&x), leaf(&w));
            let want = exact_x.rms_norm(size[1..].to_vec(), Some(&exact_w), 1e-6);
            (&want * &dy).sum(Kind::Double).backward();

            let (y, scale) = rms_norm(&x, &w, 1e-6).expect("a norm");
            let (dx, dw) = rms_norm_backward(&dy, &x, &w, &scale).expect("gradients");
            close("norm", &y, &want, tolerance);
            close("gradient of x", &dx, &exact_x.grad(), 4.0 * tolerance);
            close("gradient of w", &dw, &exact_w.grad(), 4.0 * tolerance);

            let again = in_every_order(|| {
                let (y, scale) = rms_norm(&shifted(&x), &w, 1e-6).expect("a norm");
                let (dx, dw) = rms_norm_backward(&shifted(&dy), &x, &w, &scale).expect("gradients");
                [y, scale, dx, dw].map(|t| list(&t))
            });
            // Vectors or not: threads sum the same elements.
            assert_eq!(again, [&y, &scale, &dx, &dw].map(list), "{size:?} {kind:?}");
        }
    }
}

#[test]
fn swiglu_and_its_gradient_are_those_of_the_twin() {
    for (kind, tolerance) in FORMATS {
        for (r, n) in [(5, 256), (70, 24), (9, 13)] {
            let (both, dact) = (random(&[r, 2 * n], kind), random(&[r, n], kind));
            let leaf = both.to_kind(Kind::Double).set_requires_grad(true);
            let halves = leaf.chunk(2, -1);
            let want = halves[0].silu() * &halves[1];
            (&want * &dact).sum(Kind::Double).backward();

            let (dboth, again) = swiglu_backward(&both, &dact).expect("gradients");
            let act = swiglu(&both).expect("a product");
            assert_eq!(list(&act), list(&again));
            close("SwiGLU", &act, &want, tolerance);
            let sequences = swiglu(&both.view([1, r, 2 * n])).expect("a product of sequences");
            assert_eq!((sequences.size(), list(&sequences)), (vec![1, r, n], list(&act)));
            close("gradient", &dboth, &leaf.grad(), 4.0 * tolerance);
            let (unaligned, _) = swiglu_backward(&shifted(&both), &dact).expect("gradients");
            assert_eq!(list(&unaligned), list(&dboth));
        }
    }
}

#[test]
fn shapes_and_formats_that_do_not_belong_together_are_told() {
    let x = |size: &[i64], kind| Tensor::zeros(size, (kind, here()));
    let told = rms_norm(&x(&[2, 8], Kind::Float), &x(&[8], Kind::BFloat16), 0.0).unwrap_err().to_string();
    assert!(told.contains("[Float, BFloat16]"), "{told}");
    let told = rms_norm(&x(&[2, 8], Kind::Float), &x(&[4], Kind::Float), 0.0).unwrap_err().to_string();
    assert!(told.contains("[2, 8]") && told.contains("[4]"), "{told}");
    let told = swiglu(&x(&[2, 7], Kind::Float)).unwrap_err().to_string();
    assert!(told.contains("[2, 7]"), "{told}");
    let (long, w) = (x(&[1, 20000], Kind::Float), x(&[20000], Kind::Float));
    let told = rms_norm_backward(&long, &long, &w, &x(&[1], Kind::Float)).unwrap_err().to_string();
    assert!(told.contains("80000 bytes of shared memory, at most 49152"), "{told}");
}

#[test]
fn an_update_is_that_of_the_twin() {
    let numbers = AdamW { learning_rate: 1e-2, beta1: 0.9, beta2: 0.95, weight_decay: 0.1, eps: 1e-8 };
    for (kind, n) in [(Kind::Float, 1031), (Kind::BFloat16, 1031), (Kind::Float, 1024), (Kind::BFloat16, 3)] {
        let of = |x: Tensor, kind: Kind| if n == 1024 { shifted(&x.to_kind(kind)) } else { x.to_kind(kind) };
        let (master, gradient) =
            (of(random(&[n], Kind::Float), Kind::Float), of(random(&[n], Kind::Float), Kind::Float));
        let moments = [random(&[n], kind) * 0.1, random(&[n], kind).square()].map(|x| of(x, kind));
        let copy = of(Tensor::zeros([n], (Kind::BFloat16, here())), Kind::BFloat16);
        let wide = |x: &Tensor| x.to_device(Device::Cpu).to_kind(Kind::Float).copy();
        let (twin, clipped) = (wide(&master), wide(&gradient) * 0.25);
        let twins = moments.each_ref().map(wide);
        let steps = Tensor::from(6.0_f32);
        let [m, v] = twins.each_ref();
        fused_adamw(&[twin.shallow_clone()], &[clipped], &[m.shallow_clone()], &[v.shallow_clone()], &[steps], numbers)
            .expect("an update");

        let weight = Weight { master: &master, gradient: &gradient, moments: moments.each_ref(), copy: Some(&copy) };
        adamw(&weight, numbers, 0.25, 7).expect("an update");
        close("weights", &wide(&master), &twin, 1e-6);
        for (found, want) in moments.iter().zip(&twins) {
            close("moments", &wide(found), want, if kind == Kind::Float { 1e-6 } else { 8e-3 });
        }
        assert_eq!(list(&copy), list(&master.to_kind(Kind::BFloat16)), "{kind:?} {n}");
        let alone = Weight { copy: None, ..weight };
        adamw(&alone, numbers, 0.25, 8).expect("an update");
    }
    let x = random(&[3], Kind::Float);
    let wrong = Weight { master: &x, gradient: &x, moments: [&x, &random(&[2], Kind::Float)], copy: None };
    let told = adamw(&wrong, numbers, 1.0, 1).unwrap_err().to_string();
    assert!(told.contains("Float [2]"), "{told}");
}

#[test]
fn places_are_those_of_a_stable_sort() {
    // One choice, less than a warp, several blocks with a ragged last, an expert that nobody chooses.
    for (t, k, e) in [(1, 1, 1), (5, 3, 4), (700, 4, 33), (257, 2, 1000)] {
        let experts = Tensor::randint(e, [t, k], (Kind::Int64, here())).clamp_max(1.max(e - 2)).clamp_max(e - 1);
        let (places, counts) = in_every_order(|| {
            let (place, counts) = place(&experts, e).expect("places");
            (list(&place), list(&counts))
        });
        let order = experts.reshape([-1]).argsort_stable(true, 0, false);
        assert_eq!(places, list(&order.argsort(0, false)), "{t} {k} {e}");
        assert_eq!(counts, list(&experts.reshape([-1]).bincount(None::<&Tensor>, e)), "{t} {k} {e}");
    }
}

#[test]
fn rows_go_to_their_places_and_come_back() {
    for (kind, tolerance) in FORMATS {
        for (t, k, d) in [(7, 3, 64), (4, 2, 2056), (5, 8, 13)] {
            let permutation = Tensor::randperm(t * k, (Kind::Int64, here()));
            let (place, flat) = (permutation.view([t, k]), permutation.view([-1]));
            let (x, rows, h) = (random(&[t, d], kind), random(&[t * k, d], kind), random(&[t, d], kind));
            let (weight, dout) = (random(&[t, k], Kind::Float), random(&[t, d], kind));

            let back = |rows: &Tensor| rows.index_select(0, &flat).view([t, k, d]);
            let spread_rows = spread(&x, &place).expect("rows");
            assert_eq!(list(&back(&spread_rows)), list(&x.unsqueeze(1).expand([t, k, d], false)));
            let wide = |x: &Tensor| x.to_kind(Kind::Double).set_requires_grad(true);
            let (exact_rows, exact_weight) = (wide(&rows), wide(&weight));
            let sum = |x: Tensor| x.sum_dim_intlist([1_i64].as_slice(), false, None::<Kind>);
            close("sums", &gather(&rows, &place).expect("sums"), &sum(back(&exact_rows)), tolerance);
            let want = &h + sum(back(&exact_rows) * exact_weight.unsqueeze(-1));
            (&want * &dout).sum(Kind::Double).backward();

            let run = |h: &Tensor, rows: &Tensor, dout: &Tensor| {
                let out = combine(h, rows, &place, &weight).expect("sums");
                let (drows, dweight) = combine_backward(dout, rows, &place, &weight).expect("gradients");
                [out, drows, dweight]
            };
            let found = run(&h, &rows, &dout);
            close("combined", &found[0], &want, tolerance);
            close("gradient of rows", &found[1], &exact_rows.grad(), tolerance);
            close("gradient of weights", &found[2], &exact_weight.grad(), 4.0 * tolerance);
            let again = in_every_order(|| run(&shifted(&h), &shifted(&rows), &shifted(&dout)).map(|t| list(&t)));
            assert_eq!(again, found.map(|t| list(&t)));
        }
    }
}

/// The best k experts of the best groups of one token, by the definition.
fn chosen(rule: &GateRule, scores: &[f32], bias: &[f32]) -> Vec<i64> {
    let biased: Vec<f32> = scores
        .iter()
        .zip(bias)
        .map(|(s, b)| if rule.bias_use == BiasUse::Added { s + b } else { s * (b + 1.0) })
        .collect();
    let best = |values: &[f32], n: usize| -> Vec<usize> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        order[..n].to_vec()
    };
    let size = biased.len() / rule.n_groups as usize;
    let worths: Vec<f32> = biased
        .chunks(size)
        .map(|group| best(group, size.min(rule.best_of_group as usize)).iter().map(|&i| group[i]).sum())
        .collect();
    let groups = best(&worths, rule.picked as usize);
    let allowed: Vec<f32> =
        (0..biased.len()).map(|i| if groups.contains(&(i / size)) { biased[i] } else { f32::NEG_INFINITY }).collect();
    best(&allowed, rule.top_k as usize).iter().map(|&i| i as i64).collect()
}

fn rules() -> Vec<(i64, GateRule)> {
    let plain = GateRule {
        score: Score::Sigmoid,
        bias_use: BiasUse::Added,
        n_groups: 1,
        picked: 1,
        best_of_group: 2,
        top_k: 3,
        normalise: true,
        scale: 2.5,
    };
    vec![
        (16, plain),
        (16, GateRule { score: Score::Softmax, bias_use: BiasUse::Factor, normalise: false, ..plain }),
        (256, GateRule { n_groups: 8, picked: 4, top_k: 8, ..plain }),
        (40, GateRule { score: Score::Softmax, n_groups: 5, picked: 2, best_of_group: 1, top_k: 16, ..plain }),
        (6, GateRule { n_groups: 6, picked: 3, top_k: 2, ..plain }),
    ]
}

#[test]
fn the_gate_chooses_and_weighs_by_its_definition() {
    for (e, rule) in rules() {
        let t = 9;
        // Few different numbers, so that many are equal.
        let logits = (random(&[t, e], Kind::Float) * 3.0).round() * 0.5;
        let bias = (random(&[e], Kind::Float) * 2.0).round() * 0.25;
        let (scores, experts, weights) = in_every_order(|| {
            let Gated { scores, experts, weights } = gate(&logits, &bias, &rule).expect("a choice");
            (list(&scores), list(&experts), list(&weights))
        });
        let exact = logits.to_kind(Kind::Double);
        let exact = if rule.score == Score::Sigmoid { exact.sigmoid() } else { exact.softmax(-1, None::<Kind>) };
        close("scores", &Tensor::from_slice(&scores).view([t, e]), &exact.to_device(Device::Cpu), 1e-6);
        let bias = Vec::<f32>::try_from(bias.to_device(Device::Cpu)).expect("numbers");
        for token in 0..t as usize {
            let (n, k) = (e as usize, rule.top_k as usize);
            let of_token: Vec<f32> = scores[token * n..][..n].iter().map(|&s| s as f32).collect();
            let want = chosen(&rule, &of_token, &bias);
            let found: Vec<i64> = experts[token * k..][..k].iter().map(|&i| i as i64).collect();
            assert_eq!(found, want, "{rule:?}");
            let sum: f64 = want.iter().map(|&i| f64::from(of_token[i as usize])).sum();
            for (j, &i) in want.iter().enumerate() {
                let own = f64::from(of_token[i as usize]);
                let weight = rule.scale * if rule.normalise { own / sum } else { own };
                assert!((weights[token * k + j] - weight).abs() <= 1e-6 * weight, "{rule:?}");
            }
        }
    }
}

#[test]
fn the_gates_gradient_is_that_of_its_definition() {
    for (e, rule) in rules() {
        let leaf = |x: &Tensor, kind| x.copy().to_kind(kind).set_requires_grad(true);
        let logits = random(&[7, e], Kind::Float);
        let (found, exact) = (leaf(&logits, Kind::Float), leaf(&logits, Kind::Double));
        let bias = random(&[e], Kind::Float) * 0.1;
        let gated = gate(&found, &bias, &rule).expect("a choice");
        let (of_scores, of_weights) = (random(&[7, e], Kind::Float), random(&[7, rule.top_k], Kind::Float));
        let loss = |scores: &Tensor, weights: &Tensor| {
            (scores * &of_scores).sum(Kind::Double) + (weights * &of_weights).sum(Kind::Double)
        };
        loss(&gated.scores, &gated.weights).backward();
        let scores = if rule.score == Score::Sigmoid { exact.sigmoid() } else { exact.softmax(-1, None::<Kind>) };
        let weights = scores.gather(1, &gated.experts, false);
        let sum = weights.sum_dim_intlist([-1_i64].as_slice(), true, None::<Kind>);
        let weights = if rule.normalise { &weights / sum } else { weights } * rule.scale;
        loss(&scores, &weights).backward();
        close("gradient of logits", &found.grad(), &exact.grad(), 1e-5);
        // Weights alone, as in training without a balance loss.
        let found = leaf(&logits, Kind::Float);
        (gate(&found, &bias, &rule).expect("a choice").weights * &of_weights).sum(Kind::Double).backward();
        assert_eq!(found.grad().isfinite().all().int64_value(&[]), 1);
    }
}

#[test]
fn logits_that_are_no_numbers_still_get_experts_that_exist() {
    for (e, rule) in rules() {
        let logits = random(&[4, e], Kind::Float);
        let _ = logits.get(1).fill_(f64::NAN);
        let _ = logits.get(2).narrow(0, 0, 2).fill_(f64::INFINITY);
        let gated = gate(&logits, &Tensor::zeros([e], (Kind::Float, here())), &rule).expect("a choice");
        let experts = list(&gated.experts);
        assert!(experts.iter().all(|&i| (0.0..e as f64).contains(&i)), "{experts:?}");
    }
}
