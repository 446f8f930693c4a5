//! The shim against what tch and arithmetic give.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ds_kernels::{AdamW, Differentiable, Forward, NodeError, apply, backward, fused_adamw, norms};
use tch::{Device, Kind, Tensor};

fn random(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Double, Device::Cpu))
}

fn leaf(shape: &[i64]) -> Tensor {
    random(shape).set_requires_grad(true)
}

fn close(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && a.allclose(b, 1e-12, 1e-12, false)
}

#[test]
fn chosen_inputs_get_the_product_of_jacobian_and_given_gradient() {
    let (x, w, unused) = (leaf(&[3, 4]), leaf(&[4, 5]), leaf(&[2]));
    let (y, gradient) = (x.matmul(&w), random(&[3, 5]));
    let got = backward(&[&y], &[Some(&gradient)], &[&w, &unused, &x], false).unwrap();
    assert!(close(got[0].as_ref().unwrap(), &x.detach().tr().matmul(&gradient)));
    assert!(got[1].is_none());
    assert!(close(got[2].as_ref().unwrap(), &gradient.matmul(&w.detach().tr())));
    assert!(!x.grad().defined(), "nothing is added to .grad");
}

#[test]
fn several_outputs_add_up_and_a_scalar_needs_no_gradient() {
    let x = leaf(&[3]);
    let (double, sum, gradient) = (&x * 2.0, x.sum(Kind::Double), random(&[3]));
    let got = backward(&[&double, &sum], &[Some(&gradient), None], &[&x], false).unwrap();
    assert!(close(got[0].as_ref().unwrap(), &(&gradient * 2.0 + 1.0)));
}

#[test]
fn a_kept_graph_can_be_walked_again_and_a_freed_one_cannot() {
    let x = leaf(&[3]);
    let (y, gradient) = (&x * &x, random(&[3]));
    let first = backward(&[&y], &[Some(&gradient)], &[&x], true).unwrap();
    let second = backward(&[&y], &[Some(&gradient)], &[&x], false).unwrap();
    assert!(close(first[0].as_ref().unwrap(), second[0].as_ref().unwrap()));
    let error = backward(&[&y], &[Some(&gradient)], &[&x], false).unwrap_err().to_string();
    assert!(error.contains("second time"), "{error}");
    assert!(!error.contains("Exception raised from"), "{error}");
}

/// x³, counting itself.
struct Cube {
    alive: Arc<AtomicUsize>,
    fails: Option<&'static str>,
}

impl Cube {
    fn new(alive: &Arc<AtomicUsize>, fails: Option<&'static str>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { alive: alive.clone(), fails }
    }
}

impl Drop for Cube {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Differentiable for Cube {
    fn forward(&self, inputs: &[Tensor]) -> Result<Forward, NodeError> {
        match self.fails {
            Some("forward error") => return Err("no cubes today".into()),
            Some("forward panic") => panic!("a cube fell"),
            _ => {}
        }
        Ok(Forward { outputs: vec![inputs[0].pow_tensor_scalar(3)], saved: vec![inputs[0].shallow_clone()] })
    }

    fn backward(&self, saved: &[Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, NodeError> {
        match self.fails {
            Some("backward error") => return Err("no way back".into()),
            Some("backward panic") => panic!("a cube fell on its way back"),
            Some("too many") => return Ok(vec![None, None]),
            _ => {}
        }
        let gradient = gradients[0].as_ref().ok_or("no gradient")?;
        Ok(vec![Some(gradient * saved[0].square() * 3.0)])
    }
}

#[test]
fn a_rust_node_stands_in_a_graph_like_any_other() {
    let alive = Arc::new(AtomicUsize::new(0));
    let x = leaf(&[4]);
    let cube = apply(Cube::new(&alive, None), &[&(&x + 1.0)]).unwrap().remove(0);
    let loss = (&cube * 2.0).sum(Kind::Double);
    let got = backward(&[&loss], &[None], &[&x], false).unwrap();
    let moved = x.detach() + 1.0;
    assert!(close(&cube.detach(), &(&moved * &moved * &moved)));
    assert!(close(got[0].as_ref().unwrap(), &(&moved * &moved * 6.0)));
    drop((cube, loss));
    assert_eq!(alive.load(Ordering::SeqCst), 0, "the node dies with its graph");
}

#[test]
fn errors_and_panics_of_a_node_cross_as_errors() {
    let alive = Arc::new(AtomicUsize::new(0));
    for (fails, words) in [("forward error", "no cubes today"), ("forward panic", "panicked: a cube fell")] {
        let error = apply(Cube::new(&alive, Some(fails)), &[&leaf(&[2])]).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let ways_back = [
        ("backward error", "no way back"),
        ("backward panic", "panicked: a cube fell on its way back"),
        ("too many", "2 gradients for 1 inputs"),
    ];
    for (fails, words) in ways_back {
        let x = leaf(&[2]);
        let loss = apply(Cube::new(&alive, Some(fails)), &[&x]).unwrap()[0].sum(Kind::Double);
        let error = backward(&[&loss], &[None], &[&x], false).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn norms_are_those_of_each_tensor() {
    let tensors = [random(&[3, 4]), random(&[7]).to_kind(Kind::Float), Tensor::zeros([2], (Kind::Float, Device::Cpu))];
    for (got, tensor) in norms(&tensors).unwrap().iter().zip(&tensors) {
        let expected = tensor.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[]).sqrt();
        assert!((got - expected).abs() <= 1e-12 * expected.max(1.0), "{got} {expected}");
    }
    assert!(norms(&[]).unwrap().is_empty());
}

#[test]
fn fused_adamw_is_the_published_update() {
    let adamw = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.95, weight_decay: 0.01, eps: 1e-8 };
    let (p, g) = (random(&[5]), random(&[5]));
    let (m, v) = (random(&[5]).abs(), random(&[5]).abs());
    let step = Tensor::from(6.0_f32);
    let (mut expected, mut m1, mut v1) = (p.copy(), m.copy(), v.copy());
    expected *= 1.0 - adamw.learning_rate * adamw.weight_decay;
    m1 = m1 * adamw.beta1 + &g * (1.0 - adamw.beta1);
    v1 = v1 * adamw.beta2 + g.square() * (1.0 - adamw.beta2);
    let unbiased = |moment: &Tensor, beta: f64| moment / (1.0 - beta.powi(7));
    expected =
        &expected - unbiased(&m1, adamw.beta1) / (unbiased(&v1, adamw.beta2).sqrt() + adamw.eps) * adamw.learning_rate;
    let one = |t: &Tensor| [t.shallow_clone()];
    fused_adamw(&one(&p), &one(&g), &one(&m), &one(&v), &one(&step), adamw).unwrap();
    assert!(p.allclose(&expected, 1e-6, 1e-9, false));
    assert!(m.allclose(&m1, 1e-9, 1e-12, false) && v.allclose(&v1, 1e-9, 1e-12, false));
    assert_eq!(step.double_value(&[]), 7.0);
}

#[test]
fn fused_adamw_refuses_a_gradient_of_another_dtype() {
    let (p, g) = (random(&[2]).to_kind(Kind::Float), random(&[2]).to_kind(Kind::BFloat16));
    let one = |t: &Tensor| [t.shallow_clone()];
    let adamw = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.95, weight_decay: 0.0, eps: 1e-8 };
    let zeros = [p.zeros_like()];
    let error = fused_adamw(&one(&p), &one(&g), &zeros, &zeros, &[Tensor::from(0.0_f32)], adamw).unwrap_err();
    assert!(error.to_string().starts_with("fused AdamW: "), "{error}");
}
