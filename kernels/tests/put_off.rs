//! Weights' gradients that are put off. Alone in its process: products are counted.

use ds_kernels::fp8::{self, ScaleRule};
use ds_kernels::fused::{
    self, Experts, experts, experts_backward, experts_backward_inputs, experts_backward_weights, feed_forward,
};
use ds_kernels::{ProductCounts, PutOff, TorchError, backward};
use tch::{Device, Kind, Tensor};

const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

type Function = fn(&[Tensor]) -> Result<Tensor, TorchError>;

fn leaf(size: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(size, DOUBLE).to_kind(kind).set_requires_grad(true)
}

fn counts() -> [ProductCounts; 2] {
    [fused::product_counts(), fp8::product_counts()]
}

/// Products of both kinds since then: forward, of input gradients, of weight gradients.
fn since(before: [ProductCounts; 2]) -> [u64; 3] {
    let all = |of: fn(&ProductCounts) -> u64| {
        counts().iter().zip(&before).map(|(now, before)| of(now) - of(before)).sum::<u64>()
    };
    [all(|c| c.forward), all(|c| c.input_gradient), all(|c| c.weight_gradient)]
}

/// `leaves` are an input and weights. Gradients at once and put off are the same numbers, and put off they cost the same
/// products, each of them once, those of weights when they are asked for.
fn check(what: &str, n_products: u64, leaves: &[Tensor], function: Function) {
    let y = function(leaves).expect("it runs");
    let dy = Tensor::randn(y.size(), DOUBLE).to_kind(y.kind());
    let wanted: Vec<&Tensor> = leaves.iter().collect();
    let at_once = backward(&[&y], &[Some(&dy)], &wanted, false).expect("it runs");

    let (before, put_off) = (counts(), PutOff::default());
    let y = put_off.scope(|| function(leaves)).expect("it runs");
    assert_eq!(since(before), [n_products, 0, 0], "{what}: forward");
    let found = backward(&[&y], &[Some(&dy)], &wanted, false).expect("it runs");
    assert_eq!(since(before), [n_products, n_products, 0], "{what}: backward of inputs");
    assert_eq!(found[0], at_once[0], "{what}: the gradient of the input");
    assert!(found[1..].iter().all(Option::is_none), "{what}: weights have no gradient yet");

    let notes = put_off.take();
    assert_eq!(notes.len() as u64, n_products, "{what}: a note of each weight");
    for note in notes {
        let place = leaves.iter().position(|leaf| leaf.data_ptr() == note.weight().data_ptr()).expect("it runs");
        let kind = if leaves[place].kind() == Kind::Double { Kind::Double } else { Kind::Float };
        let sum = Tensor::zeros(leaves[place].size(), (kind, Device::Cpu));
        note.add_to(&sum.view_as(&leaves[place])).expect("it runs");
        let want = at_once[place].as_ref().expect("it runs");
        assert_eq!(&sum.to_kind(want.kind()), want, "{what}: weight {place}");
    }
    assert_eq!(since(before), [n_products; 3], "{what}: no product twice");
    assert!(put_off.take().is_empty(), "{what}: notes are taken once");
}

fn experts_alike(kind: Kind) {
    let (n_rows, d, n) = ([3_i64, 0, 5], 16, 24);
    let [x, dy] = [(); 2].map(|()| leaf(&[8, d], kind).detach());
    let weights = Experts::new(&leaf(&[6, n, d], kind), &leaf(&[3, d, n], kind), &n_rows).expect("it runs");
    let wide = if kind == Kind::Double { Kind::Double } else { Kind::Float };
    let sums = || [[6, n, d], [3, d, n]].map(|size| Tensor::ones(size, (wide, Device::Cpu)));
    let before = counts();
    let (_, both) = experts(&x, &weights).expect("it runs");
    let (at_once, put_off) = (sums(), sums());
    let dx = experts_backward(&dy, &x, &both, &weights, at_once.each_ref()).expect("it runs");
    assert_eq!(since(before), [4; 3]);
    let back = experts_backward_inputs(&dy, &both, &weights).expect("it runs");
    assert_eq!(since(before), [4, 8, 4]);
    experts_backward_weights(&dy, &x, &back, &weights, put_off.each_ref()).expect("it runs");
    assert_eq!(since(before), [4, 8, 8]);
    assert_eq!((dx, at_once), (back.dx, put_off), "{kind:?}");
}

#[test]
fn gradients_put_off_are_those_at_once_and_no_product_runs_twice() {
    tch::manual_seed(7);
    for kind in [Kind::Double, Kind::Float, Kind::BFloat16] {
        let of = |size: &[i64]| leaf(size, kind);
        check("linear", 1, &[of(&[40, 64]), of(&[24, 64])], |l| fused::linear(&l[0], &l[1]));
        check("rows", 1, &[of(&[40, 64]), of(&[24, 64])], |l| fused::linear(&l[0], &l[1].narrow(0, 0, 24)));
        check("a network", 2, &[of(&[40, 32]), of(&[2, 48, 32]), of(&[32, 48])], |l| feed_forward(&l[0], &l[1], &l[2]));
        experts_alike(kind);
    }
    let eight_bits = [leaf(&[40, 128], Kind::BFloat16), leaf(&[256, 128], Kind::Float)];
    check("on codes", 1, &eight_bits, |l| fp8::linear(&l[0], &l[1], ScaleRule::Exact));
}
