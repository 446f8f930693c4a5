//! Training in eight-bit floats and with moments of sixteen bits.
#![cfg(feature = "train")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ds_arch::hugging_face::is_quantised;
use ds_kernels::Which;
use ds_kernels::fp8::{audited, product_counts};
use ds_tests::job::Job;
use ds_tests::products::{SUMS, golden_errors, matrix, matrix_of};
use ds_tests::ranks::{Backend, Trained, on_threads, plan, train, trainer};

/// Products are counted for the whole process, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn job(folder: &std::path::Path, compute: &str, moments: &str) -> Job {
    Job::tiny(folder).with("precision.compute", compute).with("precision.moments", moments).grid(1, 2, 2)
}

fn run(compute: &str, moments: &str, n_steps: u64) -> Trained {
    let folder = tempfile::tempdir().expect("a folder");
    train(&job(folder.path(), compute, moments), folder.path(), Backend::Threads, n_steps, false)
}

#[test]
fn eight_bits_learn_like_sixteen_and_all_three_products_run_on_codes() {
    let _turn = turn();
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
    let _turn = turn();
    let whole = run("fp8", "bf16", 8);
    let folder = tempfile::tempdir().expect("a folder");
    let job = job(folder.path(), "fp8", "bf16");
    let mut parts = train(&job, folder.path(), Backend::Threads, 4, true);
    let second = train(&job, folder.path(), Backend::Threads, 4, false);
    parts.losses.extend(second.losses);
    assert_eq!((whole.losses, whole.validation), (parts.losses, second.validation));
}

#[test]
fn every_quantised_matrix_multiplies_its_three_times_near_fp64() {
    let _turn = turn();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/fp8_blockwise");
    let [golden_error, _] = golden_errors(&golden).expect("golden products");
    let folder = tempfile::tempdir().expect("a folder");
    let job = job(folder.path(), "fp8", "bf16").grid(1, 1, 1);
    let plan = plan(&job);
    let found = on_threads(&plan, Backend::Threads, |rank, endpoint| {
        let mut trainer = trainer(&plan, rank, endpoint, folder.path());
        for _ in 0..4 {
            trainer.step(false).expect("a step");
        }
        let (done, products) = audited(|| trainer.step(false));
        done.expect("a step");
        let named = |a: ds_kernels::fp8::Audited| (matrix_of(trainer.model().parameters(), a.weight), a);
        products.into_iter().map(named).collect::<Vec<_>>()
    })
    .swap_remove(0);

    let seen: BTreeSet<_> = found.iter().map(|(matrix, a)| (matrix.clone(), a.which)).collect();
    let quantised = ds_arch::parameters(&plan.spec().model).into_iter().filter(|p| is_quantised(&p.name));
    let three = [Which::Forward, Which::InputGradient, Which::WeightGradient];
    let expected: BTreeSet<_> = quantised.flat_map(|p| three.map(|which| (matrix(&p.name), which))).collect();
    assert_eq!(seen, expected, "all of these matrices, and no other");
    for (matrix, a) in &found {
        assert!(a.of_sums <= SUMS, "{matrix}, {}: {a:?}", a.which);
        // The input of a weight's gradient is rounded twice; and few terms of a tile average less than golden ones.
        assert!(a.of_terms <= 2.0 * golden_error, "{matrix}, {}: {a:?}, golden {golden_error}", a.which);
    }
}
