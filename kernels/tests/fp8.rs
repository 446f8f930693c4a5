//! Products in eight-bit floats.

use ds_kernels::Which;
use ds_kernels::fp8::{
    Quantised, ScaleRule, Scaling, audited, linear, product, product_by_blocks, product_counts, quantise, step_by_step,
};
use tch::{Device, Kind, Tensor};

fn random(seed: i64, size: [i64; 2]) -> Tensor {
    tch::manual_seed(seed);
    Tensor::randn(size, (Kind::Float, Device::Cpu))
}

/// ‖a − b‖ / ‖b‖.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    (a - &b).norm().double_value(&[]) / b.norm().double_value(&[])
}

#[test]
fn numbers_that_e4m3_has_stay_as_they_are() {
    let x = Tensor::from_slice(&[448.0_f32, -0.875, 0.0, 1.0 / 512.0]).view([1, 4]);
    for rule in [ScaleRule::Exact, ScaleRule::PowerOfTwo] {
        for scaling in [Scaling::Tiles, Scaling::Upright, Scaling::Blocks] {
            assert_eq!(quantise(&x, scaling, rule).dequantise(), x);
        }
    }
}

#[test]
fn a_power_of_two_is_its_own_scale_and_more_goes_to_the_next() {
    for (greatest, scale) in [(448.0_f32, 1.0), (448.1, 2.0), (896.0, 2.0), (7.0, 1.0 / 64.0), (0.0, 1.0 / 4_194_304.0)]
    {
        let q = quantise(&Tensor::from_slice(&[greatest]).view([1, 1]), Scaling::Tiles, ScaleRule::PowerOfTwo);
        assert_eq!(q.scales.double_value(&[0, 0]), scale, "greatest {greatest}");
    }
}

#[test]
fn an_outlier_costs_precision_in_its_own_tile_only() {
    let x = random(1, [2, 256]);
    let plain = quantise(&x, Scaling::Tiles, ScaleRule::Exact).dequantise();
    let _ = x.narrow(0, 0, 1).narrow(1, 0, 1).fill_(1e4);
    let found = quantise(&x, Scaling::Tiles, ScaleRule::Exact).dequantise();
    assert_eq!(found.get(1), plain.get(1));
    assert_eq!(found.narrow(1, 128, 128), plain.narrow(1, 128, 128));
    assert_ne!(found.get(0).narrow(0, 1, 127), plain.get(0).narrow(0, 1, 127));
}

fn bits(x: &Tensor) -> Tensor {
    x.view_dtype(if x.kind() == Kind::Float8e4m3fn { Kind::Uint8 } else { Kind::Int })
}

/// Code · scale, in LibTorch's own operations.
fn numbers(q: &Quantised) -> Tensor {
    let (m, k) = q.codes.size2().expect("a matrix");
    let along = |scales: &Tensor, dim, n| scales.repeat_interleave_self_int(128, dim, None::<i64>).narrow(dim, 0, n);
    let scales = match q.scaling {
        Scaling::Tiles => along(&q.scales, 1, k),
        Scaling::Upright => along(&q.scales, 0, m),
        Scaling::Blocks => along(&along(&q.scales, 0, m), 1, k),
    };
    q.codes.to_kind(Kind::Float) * scales
}

#[test]
fn one_pass_gives_the_bits_of_a_step_by_step_one() {
    // All singles of eight bits of fraction up to 448, which is in every tile: ties, and what lies below normal numbers.
    let every = Tensor::arange(1 << 16, (Kind::Int, Device::Cpu)).multiply_scalar(1 << 15).view_dtype(Kind::Float);
    let every = every.where_self(&every.abs().le(448.0), &every.zeros_like()).view([-1, 128]);
    let _ = every.narrow(1, 0, 1).fill_(448.0);
    let cases = [
        every.shallow_clone(),
        -every,
        random(1, [300, 200]) * 1e-6,
        random(2, [1, 1]),
        Tensor::zeros([130, 130], (Kind::Float, Device::Cpu)),
        random(3, [257, 129]).exp().to_kind(Kind::BFloat16),
        random(4, [40, 500]).tr(),
    ];
    for (i, x) in cases.iter().enumerate() {
        for rule in [ScaleRule::Exact, ScaleRule::PowerOfTwo] {
            for scaling in [Scaling::Tiles, Scaling::Upright, Scaling::Blocks] {
                let (found, meant) = (quantise(x, scaling, rule), step_by_step(x, scaling, rule));
                let case = format!("case {i}, {scaling:?}, {rule:?}");
                assert_eq!(bits(&found.scales), bits(&meant.scales.contiguous()), "{case}: scales");
                assert_eq!(bits(&found.codes), bits(&meant.codes.contiguous()), "{case}: codes");
                let again = Quantised::new(found.codes.shallow_clone(), found.scales.shallow_clone(), scaling);
                for (of, q) in [("numbers", &found), ("numbers again", &again)] {
                    assert_eq!(q.dequantise(), numbers(&meant), "{case}: {of}");
                }
                assert_eq!(again.transposed().dequantise(), found.dequantise().tr(), "{case}: turned");
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_none() {
    for (bad, n_bad) in [(f32::NAN, 128), (f32::INFINITY, 128)] {
        let x = random(1, [2, 256]);
        let _ = x.narrow(0, 0, 1).narrow(1, 3, 1).fill_(f64::from(bad));
        let found = quantise(&x, Scaling::Tiles, ScaleRule::Exact).dequantise();
        let none = found.isfinite().logical_not().sum(Kind::Int64).int64_value(&[]);
        assert!((1..=n_bad).contains(&none), "{bad}: {none}");
        assert!(found.get(0).narrow(0, 3, 1).isfinite().int64_value(&[]) == 0);
    }
}

#[test]
fn one_product_is_the_sum_of_scaled_products_of_codes() {
    // Ragged edges everywhere.
    for (m, n, k) in [(3, 5, 7), (130, 129, 300), (1, 256, 128)] {
        let a = quantise(&random(1, [m, k]), Scaling::Tiles, ScaleRule::Exact);
        for scaling in [Scaling::Tiles, Scaling::Blocks] {
            let b = quantise(&random(2, [n, k]), scaling, ScaleRule::Exact);
            let off = apart(&product(&a, &b), &product_by_blocks(&a, &b));
            assert!(off < 1e-6, "{m} x {n} x {k}, {scaling:?}: {off:e}");
        }
    }
}

#[test]
fn a_linear_layer_and_its_gradients_are_near_the_exact_ones() {
    let (x, w, dy) = (random(1, [200, 384]), random(2, [256, 384]), random(3, [200, 256]));
    let before = product_counts();
    for rule in [ScaleRule::Exact, ScaleRule::PowerOfTwo] {
        let leaf = |t: &Tensor| t.copy().set_requires_grad(true);
        let (xl, wl) = (leaf(&x), leaf(&w));
        let y = linear(&xl, &wl, rule).expect("a product");
        (&y * &dy).sum(Kind::Float).backward();
        for (found, exact) in [(y, x.matmul(&w.tr())), (xl.grad(), dy.matmul(&w)), (wl.grad(), dy.tr().matmul(&x))] {
            let off = apart(&found, &exact);
            // Both operands are rounded to a relative 2⁻⁴ at most.
            assert!((1e-3..0.06).contains(&off), "{off}");
        }
    }
    let after = product_counts();
    assert!(after.forward >= before.forward + 2);
    assert!(after.input_gradient >= before.input_gradient + 2);
    assert!(after.weight_gradient >= before.weight_gradient + 2);
}

#[test]
fn gradients_keep_their_precision_however_small_they_are() {
    let (x, w, dy) = (random(1, [200, 384]), random(2, [256, 384]), random(3, [200, 256]));
    for size in [1e-3, 1e-9, 1e-15] {
        let leaf = |t: &Tensor| t.copy().set_requires_grad(true);
        let (xl, wl) = (leaf(&x), leaf(&w));
        let y = linear(&xl, &wl, ScaleRule::PowerOfTwo).expect("a product");
        let dy = &dy * size;
        (&y * &dy).sum(Kind::Float).backward();
        for (found, exact) in [(xl.grad(), dy.matmul(&w)), (wl.grad(), dy.tr().matmul(&x))] {
            let off = apart(&found, &exact);
            assert!(off < 0.06, "gradients of {size:e}: {off}");
        }
    }
}

#[test]
fn an_input_in_bf16_gives_an_output_in_bf16_and_the_weight_keeps_an_fp32_gradient() {
    let x = random(1, [4, 128]).to_kind(Kind::BFloat16).set_requires_grad(true);
    let w = random(2, [8, 128]).set_requires_grad(true);
    let y = linear(&x, &w, ScaleRule::Exact).expect("a product");
    assert_eq!(y.kind(), Kind::BFloat16);
    y.sum(Kind::Float).backward();
    assert_eq!((x.grad().kind(), w.grad().kind()), (Kind::BFloat16, Kind::Float));
}

#[test]
fn an_audit_sees_all_three_products_and_what_eight_bits_cost() {
    let (x, w) = (random(1, [200, 384]).set_requires_grad(true), random(2, [256, 384]).set_requires_grad(true));
    let pass = || linear(&x, &w, ScaleRule::Exact).expect("a product").square().sum(Kind::Float).backward();
    let ((), found) = audited(pass);
    let seen: Vec<_> = found.iter().map(|a| (a.which, a.size)).collect();
    let expected = [
        (Which::Forward, [200, 256, 384]),
        (Which::InputGradient, [200, 384, 256]),
        (Which::WeightGradient, [256, 384, 200]),
    ];
    assert_eq!(seen, expected);
    for a in &found {
        assert_eq!(a.weight, w.data_ptr() as usize);
        assert!((1e-3..0.06).contains(&a.error) && a.of_sums < 1e-6, "{a:?}");
        // Only forward's operands are independent: dy is 2y here.
        assert!((a.of_terms / a.error - 1.0).abs() < 0.05 || a.which != Which::Forward, "{a:?}");
    }
    pass();
    assert_eq!(audited(|| ()).1, [], "what ran before is not audited");
}
