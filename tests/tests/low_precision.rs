//! Training in eight-bit floats and with moments of sixteen bits.
#![cfg(feature = "train")]

use ds_kernels::fp8::product_counts;
use ds_tests::job::Job;
use ds_tests::ranks::{Backend, Trained, train};

fn job(folder: &std::path::Path, compute: &str, moments: &str) -> Job {
    Job::tiny(folder).with("precision.compute", compute).with("precision.moments", moments).grid(1, 2, 2)
}

fn run(compute: &str, moments: &str, n_steps: u64) -> Trained {
    let folder = tempfile::tempdir().expect("a folder");
    train(&job(folder.path(), compute, moments), folder.path(), Backend::Threads, n_steps, false)
}

#[test]
fn eight_bits_learn_like_sixteen_and_all_three_products_run_on_codes() {
    let sixteen = run("bf16", "f32", 20);
    let before = product_counts();
    let eight = run("fp8", "bf16", 20);
    let after = product_counts();
    let products = [
        after.forward - before.forward,
        after.input_gradient - before.input_gradient,
        after.weight_gradient - before.weight_gradient,
    ];
    // Evaluation runs forward alone.
    assert!(products[1] > 0 && products[0] > products[1] && products[1] == products[2], "{products:?}");
    let learnt = |run: &Trained| run.losses[0] - run.losses[19];
    assert!(learnt(&sixteen) > 0.2, "{:?}", sixteen.losses);
    let off = (eight.losses[19] - sixteen.losses[19]).abs();
    assert!(off < 0.1 * learnt(&sixteen), "{:?}, in sixteen bits {:?}", eight.losses, sixteen.losses);
    assert!(eight.losses != sixteen.losses, "another format rounds otherwise");
}

#[test]
fn moments_of_sixteen_bits_go_on_from_a_checkpoint_bit_for_bit() {
    let whole = run("fp8", "bf16", 8);
    let folder = tempfile::tempdir().expect("a folder");
    let job = job(folder.path(), "fp8", "bf16");
    let mut parts = train(&job, folder.path(), Backend::Threads, 4, true);
    let second = train(&job, folder.path(), Backend::Threads, 4, false);
    parts.losses.extend(second.losses);
    assert_eq!((whole.losses, whole.validation), (parts.losses, second.validation));
}
