//! What experts are sent, and send back, in fewer bits.
#![cfg(feature = "train")]

use ds_tests::job::Job;
use ds_tests::ranks::{Backend, Trained, train};

/// Five steps on a grid of `data` = `expert` ranks.
fn five_steps(compute: &str, expert: u32, dispatch: &str, combine: &str) -> Trained {
    let folder = tempfile::tempdir().expect("a folder");
    let job = Job::tiny(folder.path())
        .grid(1, expert, expert)
        .with("precision.compute", compute)
        .with("precision.dispatch", dispatch)
        .with("precision.combine", combine);
    train(&job, folder.path(), Backend::Threads, 5, false)
}

fn apart(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / a.abs()).fold(0.0, f64::max)
}

#[test]
fn the_format_of_activations_is_the_same_by_either_name() {
    assert_eq!(five_steps("bf16", 2, "compute", "compute"), five_steps("bf16", 2, "bf16", "bf16"));
}

#[test]
fn numbers_do_not_depend_on_the_grid() {
    for (dispatch, combine) in [("fp8", "bf16"), ("bf16", "logfmt10"), ("logfmt8", "fp8")] {
        let [one, two] = [1, 2].map(|expert| five_steps("f64", expert, dispatch, combine));
        assert!(apart(&one.losses, &two.losses) < 1e-5, "{dispatch} {combine}: {:?} {:?}", one.losses, two.losses);
        assert!(apart(&one.norms, &two.norms) < 1e-5, "{dispatch} {combine}: {:?} {:?}", one.norms, two.norms);
    }
}

#[test]
fn fewer_bits_move_the_loss_a_little() {
    let exact = five_steps("f32", 2, "compute", "compute");
    for (dispatch, combine) in [("fp8", "bf16"), ("bf16", "logfmt10"), ("bf16", "logfmt8")] {
        let rounded = five_steps("f32", 2, dispatch, combine);
        let (loss, norm) = (apart(&exact.losses, &rounded.losses), apart(&exact.norms, &rounded.norms));
        assert!(loss > 0.0 && loss < 5e-3 && norm > 0.0 && norm < 5e-2, "{dispatch} {combine}: {loss} {norm}");
    }
}
