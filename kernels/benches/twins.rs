//! Fused operations beside their twins in LibTorch's own, forward and backward, in turns on the same numbers:
//! `cargo bench -p ds-kernels [-- THREADS]`. A table on stdout: milliseconds, the least of several turns, and their ratio.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench measures and prints")]

use std::time::Instant;

use ds_kernels::fp8::{ScaleRule, Scaling, quantise, step_by_step};
use ds_kernels::fused::{Experts, combine, experts, experts_backward, feed_forward, rms_norm};
use ds_kernels::{AdamW, backward, fused_adamw};
use tch::{Device, Kind, Tensor, no_grad};

/// Tokens, width, inner width of an expert, experts, experts of a token.
const T: i64 = 2048;
const D: i64 = 512;
const N: i64 = 512;
const E: i64 = 16;
const K: i64 = 4;
const TURNS: usize = 7;
const EPS: f64 = 1e-6;

fn main() {
    let threads = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(2);
    tch::set_num_threads(threads);
    tch::manual_seed(1);
    println!("{T} tokens, width {D}, {E} experts of {N}, top {K}; {threads} threads");
    println!("{:<38} {:>9} {:>9} {:>7}", "", "fused", "twin", "ratio");
    for kind in [Kind::Float, Kind::BFloat16] {
        norms(kind);
        networks(kind);
        groups(kind);
        combinations(kind);
        codes(kind);
    }
    updates();
}

fn random(size: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(kind)
}

fn leaf(size: &[i64], kind: Kind) -> Tensor {
    (random(size, kind) * 0.1).detach().set_requires_grad(true)
}

/// Runs both in turns.
fn compare(what: &str, kind: Kind, fused: impl Fn(), twin: impl Fn()) {
    let milliseconds = |run: &dyn Fn()| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut least = [f64::INFINITY; 2];
    for _ in 0..TURNS {
        least[0] = least[0].min(milliseconds(&fused));
        least[1] = least[1].min(milliseconds(&twin));
    }
    let format = if kind == Kind::Float { "f32" } else { "bf16" };
    println!("{:<38} {:>9.2} {:>9.2} {:>7.2}", format!("{what}, {format}"), least[0], least[1], least[1] / least[0]);
}

/// Forward, and the gradients of all leaves.
fn both_ways(y: &Tensor, leaves: &[Tensor], gradient: &Tensor) {
    backward(&[y], &[Some(gradient)], &leaves.iter().collect::<Vec<_>>(), false).expect("gradients");
}

fn norms(kind: Kind) {
    let (leaves, dy) = ([leaf(&[T, D], kind), leaf(&[D], kind)], random(&[T, D], kind));
    let fused = || both_ways(&rms_norm(&leaves[0], &leaves[1], EPS).expect("a norm"), &leaves, &dy);
    compare("RMSNorm", kind, fused, || both_ways(&leaves[0].rms_norm([D], Some(&leaves[1]), EPS), &leaves, &dy));
}

fn swiglu(x: &Tensor, gate_up: &Tensor, down: &Tensor) -> Tensor {
    let both = x.matmul(&gate_up.flatten(0, 1).tr()).chunk(2, -1);
    (both[0].silu() * &both[1]).matmul(&down.tr())
}

fn networks(kind: Kind) {
    let leaves = [leaf(&[T, D], kind), leaf(&[2, N, D], kind), leaf(&[D, N], kind)];
    let dy = random(&[T, D], kind);
    let fused = || both_ways(&feed_forward(&leaves[0], &leaves[1], &leaves[2]).expect("a network"), &leaves, &dy);
    compare("SwiGLU network", kind, fused, || both_ways(&swiglu(&leaves[0], &leaves[1], &leaves[2]), &leaves, &dy));
}

/// The twin walks over the experts.
fn groups(kind: Kind) {
    let counts: Vec<i64> = (0..E).map(|i| T * K / E + if i % 2 == 0 { 37 } else { -37 }).collect();
    let leaves = [leaf(&[T * K, D], kind), leaf(&[2 * E, N, D], kind), leaf(&[E, D, N], kind)];
    let dy = random(&[T * K, D], kind);
    let sums = [&leaves[1], &leaves[2]].map(|w| Tensor::zeros(w.size(), (Kind::Float, Device::Cpu)));
    let fused = || {
        let weights = Experts::new(&leaves[1], &leaves[2], &counts).expect("weights");
        let x = leaves[0].detach();
        let (_, both) = experts(&x, &weights).expect("experts");
        drop(experts_backward(&dy, &x, &both, &weights, sums.each_ref()).expect("gradients"));
    };
    let twin = || {
        let parts = leaves[0].split_with_sizes(counts.as_slice(), 0);
        let outputs: Vec<Tensor> =
            (0..E).zip(&parts).map(|(i, x)| swiglu(x, &leaves[1].narrow(0, 2 * i, 2), &leaves[2].get(i))).collect();
        both_ways(&Tensor::cat(&outputs, 0), &leaves, &dy);
    };
    compare("experts", kind, fused, twin);
}

fn combinations(kind: Kind) {
    let place = Tensor::randperm(T * K, (Kind::Int64, Device::Cpu)).view([T, K]);
    let leaves = [leaf(&[T, D], kind), leaf(&[T * K, D], kind), leaf(&[T, K], Kind::Float)];
    let dy = random(&[T, D], kind);
    let fused = || both_ways(&combine(&leaves[0], &leaves[1], &place, &leaves[2]).expect("rows"), &leaves, &dy);
    let twin = || {
        let back = leaves[1].index_select(0, &place.reshape([-1])).view([T, K, D]);
        let weighed = (back * leaves[2].unsqueeze(-1)).sum_dim_intlist([1_i64].as_slice(), false, None::<Kind>);
        both_ways(&(&leaves[0] + weighed).to_kind(kind), &leaves, &dy);
    };
    compare("combine", kind, fused, twin);
}

fn codes(kind: Kind) {
    let x = random(&[T, D], kind);
    for (what, scaling) in [("tiles", Scaling::Tiles), ("upright", Scaling::Upright), ("blocks", Scaling::Blocks)] {
        let fused = || drop(quantise(&x, scaling, ScaleRule::Exact));
        compare(&format!("E4M3 codes, {what}"), kind, fused, || drop(step_by_step(&x, scaling, ScaleRule::Exact)));
    }
}

/// The twin is AdamW in whole-tensor operations.
fn updates() {
    let numbers = AdamW { learning_rate: 1e-3, beta1: 0.9, beta2: 0.95, weight_decay: 0.1, eps: 1e-8 };
    let tensors = || (0..8).map(|_| random(&[T, D], Kind::Float)).collect::<Vec<_>>();
    let (weights, gradients, moments1) = (tensors(), tensors(), tensors());
    let moments2: Vec<Tensor> = tensors().iter().map(Tensor::square).collect();
    let counts: Vec<Tensor> = (0..8).map(|_| Tensor::from(7.0_f32)).collect();
    let fused = || fused_adamw(&weights, &gradients, &moments1, &moments2, &counts, numbers).expect("an update");
    let twin = || {
        no_grad(|| {
            for (((w, g), m), v) in weights.iter().zip(&gradients).zip(&moments1).zip(&moments2) {
                let (mut w, mut m, mut v) = (w.shallow_clone(), m.shallow_clone(), v.shallow_clone());
                let _ = w.g_mul_scalar_(1.0 - 1e-4);
                let _ = m.g_mul_scalar_(0.9).g_add_(&(g * 0.1));
                let _ = v.g_mul_scalar_(0.95).g_add_(&(g.square() * 0.05));
                let _ = w.g_sub_(&(&m / (v.sqrt() + 1e-8) * 1e-3));
            }
        });
    };
    compare("AdamW", Kind::Float, fused, twin);
}
