//! The SwiGLU networks of a rank's experts on E4M3 codes, each of their products for all experts at once.

use tch::{Device, Kind, Tensor};

use super::audit;
use super::quantise::{ALONG, LEAST, LEAST_GRADIENT, Quantised, ScaleRule, Scaling, quantise, quantise_gradient};
use crate::TorchError;
use crate::counters::{OF_CODES, Which};
use crate::cuda::{self, Spans, grouped_rows, grouped_weights, upright_in_spans};

/// What [`experts`] keeps for its backward.
#[derive(Debug)]
pub struct KeptExperts {
    x: Quantised,
    both: Tensor,
    act: Quantised,
    gate_up: Quantised,
    down: Quantised,
    spans: Spans,
    n_experts: i64,
    n_busy: u64,
    rule: ScaleRule,
}

/// Whether [`experts`] takes rows of these tensors: on a Hopper card that is prepared, in BF16, where widths are whole 128.
/// Not while products are audited, which is done one by one.
pub fn groups(x: &Tensor, down: &Tensor) -> bool {
    let is_whole = down.size()[1..].iter().all(|width| width % ALONG == 0);
    let takes = x.kind() == Kind::BFloat16 && x.size()[0] > 0 && is_whole && !audit::is_on();
    takes && cuda::is_hopper(x.device())
}

/// W_down (silu(W_gate x) ⊙ W_up x) of each row's expert: `x` is `[r, d]` in BF16, sorted by expert, `gate_up` `[2e, n, d]`,
/// gate and up projection of an expert next to each other, `down` `[e, d, n]`; the e `counts` sum to r. What
/// [`super::linear`] gives expert by expert. No autograd.
///
/// # Errors
/// When shapes do not belong together or CUDA refuses.
pub fn experts(
    x: &Tensor,
    gate_up: &Tensor,
    down: &Tensor,
    counts: &[i64],
    rule: ScaleRule,
) -> Result<(Tensor, KeptExperts), TorchError> {
    let spans = Spans::new(counts, x)?;
    let n_busy = counts.iter().filter(|&&count| count > 0).count() as u64;
    let [gate_up, down] = [gate_up, down].map(|w| quantise(&w.detach().flatten(0, 1), Scaling::Blocks, rule));
    OF_CODES.add(Which::Forward, 2 * n_busy);
    let x = tiles(x, rule)?;
    let both = grouped_rows(&x, &gate_up, &spans)?;
    let act = tiles(&cuda::swiglu(&both)?, rule)?;
    let y = grouped_rows(&act, &down, &spans)?;
    let n_experts = counts.len() as i64;
    Ok((y, KeptExperts { x, both, act, gate_up, down, spans, n_experts, n_busy, rule }))
}

/// The gradients of `x` and of the two halves, `[r, 2n]`, given that of what [`experts`] gave.
///
/// # Errors
/// Likewise.
pub fn experts_backward_inputs(dy: &Tensor, kept: &KeptExperts) -> Result<(Tensor, Tensor), TorchError> {
    let KeptExperts { both, gate_up, down, spans, n_experts: e, n_busy, rule, .. } = kept;
    OF_CODES.add(Which::InputGradient, 2 * n_busy);
    let dact = grouped_rows(&gradient_tiles(dy, *rule)?, &turned(down, *e)?, spans)?;
    let (dboth, _) = cuda::swiglu_backward(both, &dact)?;
    let dx = grouped_rows(&gradient_tiles(&dboth, *rule)?, &turned(gate_up, *e)?, spans)?;
    Ok((dx, dboth))
}

/// The weights' gradients, of the gradients of outputs and of the two halves, are added to `sums`, gate and up projections
/// first, which have the weights' shapes and are FP32; or they are written there, where these are stale.
///
/// # Errors
/// Likewise.
pub fn experts_backward_weights(
    dy: &Tensor,
    dboth: &Tensor,
    kept: &KeptExperts,
    sums: [(&Tensor, bool); 2],
) -> Result<(), TorchError> {
    let KeptExperts { x, act, spans, n_experts: e, n_busy, rule, .. } = kept;
    OF_CODES.add(Which::WeightGradient, 2 * n_busy);
    let of_weight = |g: &Tensor, input: &Quantised, (sum, is_stale): (&Tensor, bool)| {
        let g = upright_in_spans(g, &spans.tiles, *rule, LEAST_GRADIENT)?;
        let input = upright_in_spans(&input.dequantise(), &spans.tiles, *rule, LEAST)?;
        let (m, n) = (g.codes.size()[1], input.codes.size()[1]);
        grouped_weights(&g, &input, spans, &sum.f_view([*e, m, n])?, is_stale)
    };
    of_weight(dboth, x, sums[0])?;
    of_weight(dy, act, sums[1])
}

fn tiles(x: &Tensor, rule: ScaleRule) -> Result<Quantised, TorchError> {
    here(x, Scaling::Tiles, rule, LEAST)
}

fn gradient_tiles(x: &Tensor, rule: ScaleRule) -> Result<Quantised, TorchError> {
    here(x, Scaling::Tiles, rule, LEAST_GRADIENT)
}

/// Codes by the card's kernel, or in tests on the CPU by the CPU's.
fn here(x: &Tensor, scaling: Scaling, rule: ScaleRule, least: f64) -> Result<Quantised, TorchError> {
    match x.device() {
        Device::Cpu if least == LEAST => Ok(quantise(x, scaling, rule)),
        Device::Cpu => Ok(quantise_gradient(x, scaling, rule)),
        _ => cuda::quantise(x, scaling, rule, least),
    }
}

/// Blocks of each expert's transpose: `[e · m, k]` to `[e · k, m]`.
fn turned(q: &Quantised, e: i64) -> Result<Quantised, TorchError> {
    let turn = |matrix: &Tensor| -> Result<Tensor, TorchError> {
        let (rows, columns) = matrix.size2()?;
        let turned = matrix.f_view([e, rows / e, columns])?.f_transpose(1, 2)?.f_contiguous()?;
        Ok(turned.f_view([e * columns, rows / e])?)
    };
    let codes = turn(&q.codes.f_view_dtype(Kind::Uint8)?)?.f_view_dtype(Kind::Float8e4m3fn)?;
    Ok(Quantised::new(codes, turn(&q.scales)?, Scaling::Blocks))
}

#[cfg(test)]
mod tests {
    use super::super::linear;
    use super::*;
    use crate::fused;

    fn random(size: &[i64], kind: Kind, device: Device) -> Tensor {
        Tensor::randn(size, (Kind::Float, device)).to_kind(kind)
    }

    fn near(what: &str, found: &Tensor, want: &Tensor, allowed: f64) {
        let double = |t: &Tensor| t.detach().to_device(Device::Cpu).to_kind(Kind::Double);
        let (found, want) = (double(found), double(want));
        assert_eq!(found.size(), want.size(), "{what}");
        let off = (&found - &want).norm().double_value(&[]) / want.norm().double_value(&[]);
        assert!(off <= allowed, "{what}: {off:e} apart, {allowed:e} allowed");
    }

    /// The two grouped products against products of the same codes, expert by expert.
    fn check_products(device: Device, counts: &[i64], [n, k]: [i64; 2], allowed: f64) {
        let (e, r) = (counts.len() as i64, counts.iter().sum::<i64>());
        let like = Tensor::zeros([1], (Kind::Float, device));
        let spans = Spans::new(counts, &like).expect("spans");
        let a = tiles(&random(&[r, k], Kind::BFloat16, device), ScaleRule::Exact).expect("codes");
        let b = quantise(&random(&[e * n, k], Kind::Float, device), Scaling::Blocks, ScaleRule::Exact);
        let found = grouped_rows(&a, &b, &spans).expect("products");
        let (x, g) = (random(&[r, k], Kind::Float, device), random(&[r, n], Kind::BFloat16, device) * 1e-6);
        let x_tiles = upright_in_spans(&x, &spans.tiles, ScaleRule::Exact, LEAST).expect("codes");
        let g_tiles = upright_in_spans(&g, &spans.tiles, ScaleRule::Exact, LEAST_GRADIENT).expect("codes");
        let sums = Tensor::ones([e, n, k], (Kind::Float, device)) * 1e-4;
        grouped_weights(&g_tiles, &x_tiles, &spans, &sums, false).expect("products");
        let mut first = 0;
        for (i, &count) in counts.iter().enumerate() {
            let start = first;
            let rows = |t: &Tensor| t.narrow(0, start, count).to_device(Device::Cpu);
            first += count;
            let sum = sums.get(i as i64).to_device(Device::Cpu) - 1e-4;
            if count == 0 {
                assert_eq!(sum.abs().max().double_value(&[]), 0.0, "an expert without rows");
                continue;
            }
            let rows_of_b = b.dequantise().narrow(0, i as i64 * n, n).to_device(Device::Cpu);
            near("rows", &rows(&found), &rows(&a.dequantise()).matmul(&rows_of_b.tr()), allowed.max(3e-3));
            let upright = |t: Tensor, quantise: fn(&Tensor, Scaling, ScaleRule) -> Quantised| {
                quantise(&t.to_kind(Kind::Float), Scaling::Upright, ScaleRule::Exact).dequantise()
            };
            let want = upright(rows(&g), quantise_gradient).tr().matmul(&upright(rows(&x), quantise));
            near("weights", &sum, &want, allowed);
        }
    }

    /// Forward and backward against one linear layer after the other on the CPU. A rounding to BF16 may make a code its
    /// neighbour, which few bits can tell.
    fn check(device: Device, counts: &[i64], [n, d]: [i64; 2]) {
        let (e, r) = (counts.len() as i64, counts.iter().sum::<i64>());
        let x = random(&[r, d], Kind::BFloat16, device);
        let dy = random(&[r, d], Kind::BFloat16, device) * 1e-6;
        let gate_up = random(&[2 * e, n, d], Kind::Float, device) * 0.1;
        let down = random(&[e, d, n], Kind::Float, device) * 0.1;
        let (y, kept) = experts(&x, &gate_up, &down, counts, ScaleRule::Exact).expect("experts");
        let sums = [gate_up.zeros_like(), down.zeros_like() + 7.0];
        let (dx, dboth) = experts_backward_inputs(&dy, &kept).expect("gradients");
        experts_backward_weights(&dy, &dboth, &kept, [(&sums[0], false), (&sums[1], true)]).expect("gradients");

        let leaf = |t: &Tensor| t.detach().to_device(Device::Cpu).set_requires_grad(true);
        let (x_leaf, gate_leaf, down_leaf) = (leaf(&x), leaf(&gate_up), leaf(&down));
        let busy: Vec<i64> = counts.iter().copied().filter(|&count| count > 0).collect();
        let experts = (0..e).filter(|&i| counts[i as usize] > 0);
        let parts = experts.zip(x_leaf.split_with_sizes(busy.as_slice(), 0)).map(|(i, rows)| {
            let both = linear(&rows, &gate_leaf.narrow(0, 2 * i, 2).flatten(0, 1), ScaleRule::Exact).expect("a layer");
            linear(&fused::swiglu(&both).expect("a product"), &down_leaf.get(i), ScaleRule::Exact).expect("a layer")
        });
        let want = Tensor::cat(&parts.collect::<Vec<_>>(), 0);
        (want.to_kind(Kind::Double) * dy.to_device(Device::Cpu).to_kind(Kind::Double)).sum(Kind::Double).backward();
        near("outputs", &y, &want, 2e-2);
        near("gradients of rows", &dx, &x_leaf.grad(), 2e-2);
        near("gradients of gate and up", &sums[0], &gate_leaf.grad(), 2e-2);
        near("gradients of down", &sums[1], &down_leaf.grad(), 2e-2);
    }

    #[test]
    fn experts_at_once_are_one_after_the_other() {
        tch::manual_seed(5);
        check_products(Device::Cpu, &[130, 0, 5], [128, 256], 1e-5);
        check(Device::Cpu, &[130, 0, 5], [128, 256]);
    }

    #[test]
    fn a_hopper_card_has_all_experts_at_once() {
        if let Err(reason) = crate::load_cuda().and_then(|()| cuda::prepare(0)) {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "NOT RUN: no Hopper card ({reason})");
            return;
        }
        assert!(cuda::is_hopper(Device::Cuda(0)), "the card has Hopper's kernels");
        for (counts, sizes) in [(&[130, 0, 5][..], [128, 256]), (&[1000, 1, 0, 777, 128, 64], [512, 1024])] {
            check_products(Device::Cuda(0), counts, sizes, 1e-3);
            check(Device::Cuda(0), counts, sizes);
        }
    }
}
