//! Products in eight-bit floats.

use ds_kernels::fp8::{ScaleRule, Scaling, linear, product, product_by_blocks, product_counts, quantise};
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
        for scaling in [Scaling::Tiles, Scaling::Blocks] {
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
fn an_input_in_bf16_gives_an_output_in_bf16_and_the_weight_keeps_an_fp32_gradient() {
    let x = random(1, [4, 128]).to_kind(Kind::BFloat16).set_requires_grad(true);
    let w = random(2, [8, 128]).set_requires_grad(true);
    let y = linear(&x, &w, ScaleRule::Exact).expect("a product");
    assert_eq!(y.kind(), Kind::BFloat16);
    y.sum(Kind::Float).backward();
    assert_eq!((x.grad().kind(), w.grad().kind()), (Kind::BFloat16, Kind::Float));
}
