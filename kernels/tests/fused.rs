//! Fused operations against the same, step by step, in LibTorch: values and all gradients.

use ds_kernels::fused::{Experts, combine, experts, experts_backward, feed_forward, grouped_experts, linear, rms_norm};
use ds_kernels::{TorchError, backward};
use tch::{Device, Kind, Tensor};

/// Formats, and how far results may be apart relative to the largest element.
const FORMATS: [(Kind, f64); 3] = [(Kind::Double, 1e-13), (Kind::Float, 2e-6), (Kind::BFloat16, 8e-3)];

fn leaf(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(shape, (Kind::Double, Device::Cpu)).to_kind(kind).set_requires_grad(true)
}

/// The same numbers in f64.
fn exact(tensor: &Tensor) -> Tensor {
    tensor.detach().to_kind(Kind::Double).set_requires_grad(true)
}

fn close(what: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
    let (got, want) = (got.to_kind(Kind::Double), want.to_kind(Kind::Double));
    assert_eq!(got.size(), want.size(), "{what}");
    let apart = (&got - &want).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
    assert!(apart <= tolerance, "{what}: {apart:e} apart, {tolerance:e} allowed");
}

/// Runs both on the same numbers, the second in f64, and compares outputs and the gradients of all leaves.
fn alike(
    what: &str,
    (kind, tolerance): (Kind, f64),
    leaves: &[Tensor],
    fused: impl Fn(&[Tensor]) -> Result<Tensor, TorchError>,
    plain: impl Fn(&[Tensor]) -> Tensor,
) {
    let twins: Vec<Tensor> = leaves.iter().map(exact).collect();
    let (got, want) = (fused(leaves).expect("fused"), plain(&twins));
    assert_eq!(got.kind(), kind, "{what}");
    close(what, &got, &want, tolerance);
    let gradient = Tensor::randn(got.size(), (Kind::Double, Device::Cpu)).to_kind(kind);
    let of = |y: &Tensor, gradient: &Tensor, leaves: &[Tensor]| {
        backward(&[y], &[Some(gradient)], &leaves.iter().collect::<Vec<_>>(), false).expect("a gradient")
    };
    let found = of(&got, &gradient, leaves).into_iter().zip(of(&want, &gradient.to_kind(Kind::Double), &twins));
    for (i, (got, want)) in found.enumerate() {
        // Gradients pass through one more rounding.
        close(&format!("{what}, gradient {i}"), &got.expect("ours"), &want.expect("theirs"), 4.0 * tolerance);
    }
}

#[test]
fn norms() {
    for format in FORMATS {
        // More rows than a block, a width that no vector divides.
        let leaves = [leaf(&[3, 50, 37], format.0), leaf(&[37], format.0)];
        let plain = |l: &[Tensor]| l[0].rms_norm([37], Some(&l[1]), 1e-6);
        alike("RMSNorm", format, &leaves, |l| rms_norm(&l[0], &l[1], 1e-6), plain);
    }
}

#[test]
fn transposed_inputs_are_taken_as_they_are_meant() {
    let x = leaf(&[5, 4, 8], Kind::Float);
    let weight = leaf(&[8], Kind::Float);
    let turned = x.transpose(0, 1);
    close("norm", &rms_norm(&turned, &weight, 1e-6).unwrap(), &turned.rms_norm([8], Some(&weight), 1e-6), 1e-6);
}

fn swiglu(x: &Tensor, gate_up: &Tensor, down: &Tensor) -> Tensor {
    let both = x.matmul(&gate_up.flatten(0, 1).tr()).chunk(2, -1);
    (both[0].silu() * &both[1]).matmul(&down.tr())
}

#[test]
fn networks() {
    for format in FORMATS {
        let leaves = [leaf(&[130, 24], format.0), leaf(&[2, 20, 24], format.0), leaf(&[24, 20], format.0)];
        let fused = |l: &[Tensor]| feed_forward(&l[0], &l[1], &l[2]);
        alike("SwiGLU", format, &leaves, fused, |l| swiglu(&l[0], &l[1], &l[2]));
    }
}

#[test]
fn large_gates_saturate() {
    let x = Tensor::from_slice(&[-1e4_f32, -100.0, -88.5, -20.0, 0.0, 20.0, 100.0, 1e4]).unsqueeze(1);
    let (gate_up, down) =
        (Tensor::ones([2, 1, 1], (Kind::Float, Device::Cpu)), Tensor::ones([1, 1], (Kind::Float, Device::Cpu)));
    let y = feed_forward(&x, &gate_up, &down).unwrap();
    assert!(y.allclose(&(x.silu() * &x), 1e-5, 1e-30, false), "{y}");
    let bad = feed_forward(&(x * f64::NAN), &gate_up, &down).unwrap();
    assert!(bool::try_from(bad.isnan().all()).unwrap(), "NaN stays NaN");
}

#[test]
fn experts_with_uneven_rows_some_with_none() {
    for (threads, format) in [1, 2].into_iter().flat_map(|n| FORMATS.map(|format| (n, format))) {
        tch::set_num_threads(threads);
        let (counts, d, n) = ([7_i64, 0, 90, 1, 0], 24, 20);
        let x = leaf(&[98, d], format.0);
        let (gate_up, down) = (leaf(&[10, n, d], format.0), leaf(&[5, d, n], format.0));
        let weights = Experts::new(&gate_up, &down, &counts).unwrap();
        let (y, both) = experts(&x.detach(), &weights).unwrap();

        let twins = [&x, &gate_up, &down].map(exact);
        let parts = twins[0].split_with_sizes(counts, 0);
        let outputs: Vec<Tensor> =
            (0..5_i64).map(|e| swiglu(&parts[e as usize], &twins[1].narrow(0, 2 * e, 2), &twins[2].get(e))).collect();
        let want = Tensor::cat(&outputs, 0);
        close("experts", &y, &want, format.1);

        let gradient = Tensor::randn([98, d], (Kind::Double, Device::Cpu)).to_kind(format.0);
        let wide = if format.0 == Kind::Double { Kind::Double } else { Kind::Float };
        // Sums that stand already are added to.
        let sums = [&gate_up, &down].map(|w| Tensor::ones(w.size(), (wide, Device::Cpu)));
        let dx = experts_backward(&gradient, &x.detach(), &both, &weights, [&sums[0], &sums[1]]).unwrap();
        let wanted: Vec<&Tensor> = twins.iter().collect();
        let found = backward(&[&want], &[Some(&gradient.to_kind(Kind::Double))], &wanted, false).unwrap();
        close("experts, gradient of rows", &dx, found[0].as_ref().unwrap(), 4.0 * format.1);
        for (sum, want) in sums.iter().zip(&found[1..]) {
            close("experts, gradient of weights", &(sum - 1.0), want.as_ref().unwrap(), 4.0 * format.1);
        }
    }
}

#[test]
fn shapes_that_do_not_belong_together_are_told() {
    let x = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    let told = Experts::new(&x(&[4, 3, 5]), &x(&[2, 5, 4]), &[1, 1]).unwrap_err().to_string();
    assert!(told.contains("[4, 3, 5]") && told.contains("[2, 5, 4]"), "{told}");
    let weights = Experts::new(&x(&[4, 3, 5]), &x(&[2, 5, 3]), &[1, 1]).unwrap();
    let told = experts(&x(&[3, 5]), &weights).unwrap_err().to_string();
    assert!(told.contains("[3, 5]") && told.contains("sum to 2"), "{told}");
}

#[test]
fn rows_come_back_to_their_tokens() {
    for format in FORMATS {
        let wide = if format.0 == Kind::Double { Kind::Double } else { Kind::Float };
        let (t, k, d) = (70, 3, 300);
        let place = Tensor::randperm(t * k, (Kind::Int64, Device::Cpu)).view([t, k]);
        let leaves = [leaf(&[t, d], format.0), leaf(&[t * k, d], format.0), leaf(&[t, k], wide)];
        let plain = |l: &[Tensor]| {
            let back = l[1].index_select(0, &place.reshape([-1])).view([t, k, d]);
            &l[0] + (back * l[2].unsqueeze(-1)).sum_dim_intlist([1_i64].as_slice(), false, None::<Kind>)
        };
        alike("combine", format, &leaves, |l| combine(&l[0], &l[1], &place, &l[2]), plain);
    }
}

#[test]
fn a_linear_layer_is_a_product() {
    for format in FORMATS {
        let leaves = [leaf(&[40, 64], format.0), leaf(&[24, 64], format.0)];
        alike("linear", format, &leaves, |l| linear(&l[0], &l[1]), |l| l[0].matmul(&l[1].tr()));
    }
}

#[test]
fn grouped_products_are_expert_after_expert() {
    let (counts, d, n) = ([3_i64, 0, 5, 1], 16, 24);
    for format in &FORMATS[1..] {
        let leaves = [leaf(&[9, d], format.0), leaf(&[8, n, d], format.0), leaf(&[4, d, n], format.0)];
        let plain = |l: &[Tensor]| {
            let rows = l[0].split_with_sizes(counts.as_slice(), 0);
            let expert = |(i, x): (usize, &Tensor)| {
                let of = |half: i64| x.matmul(&l[1].get(2 * i as i64 + half).tr());
                (of(0).silu() * of(1)).matmul(&l[2].get(i as i64).tr())
            };
            Tensor::cat(&rows.iter().enumerate().map(expert).collect::<Vec<_>>(), 0)
        };
        // What lies between the products is rounded too.
        let format = (format.0, 4.0 * format.1);
        alike("grouped", format, &leaves, |l| grouped_experts(&l[0], &l[1], &l[2], &counts), plain);
    }
}
