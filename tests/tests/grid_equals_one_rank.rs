//! The strongest test: training on a grid is training on one rank.
#![cfg(feature = "train")]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ds_tests::job::Job;
use ds_tests::ranks::{Backend, Trained, by_name, joined, on_threads, plan, train, trainer};

/// In f64, where no rounding flips a choice of the gate.
fn job(folder: &std::path::Path, (pipeline, data, expert): (u32, u32, u32)) -> Job {
    Job::tiny(folder).with("precision.compute", "f64").grid(pipeline, data, expert)
}

fn twenty_steps(grid: (u32, u32, u32), backend: Backend) -> Trained {
    let folder = tempfile::tempdir().expect("a folder");
    train(&job(folder.path(), grid), folder.path(), backend, 20, false)
}

/// What every grid is compared with.
static ONE_RANK: LazyLock<Trained> = LazyLock::new(|| twenty_steps((1, 1, 1), Backend::Threads));

fn assert_close(name: &str, one: &[f64], many: &[f64]) {
    for (step, (a, b)) in one.iter().zip(many).enumerate() {
        assert!((a - b).abs() <= 1e-5 * a.abs(), "{name} of step {step}: {a} on one rank, {b} on the grid");
    }
}

fn equals_one_rank(pipeline: u32, data: u32, expert: u32) {
    let one = &*ONE_RANK;
    let many = twenty_steps((pipeline, data, expert), Backend::Threads);
    assert_close("loss", &one.losses, &many.losses);
    assert_close("gradient norm", &one.norms, &many.norms);
    assert_close("validation loss", &[one.validation], &[many.validation]);
    assert!(one.losses[19] < one.losses[0], "it learns: {} then {}", one.losses[0], one.losses[19]);
}

#[test]
fn pipeline_2_and_expert_2_equal_one_rank() {
    equals_one_rank(2, 2, 2);
}

#[test]
fn expert_2_equals_one_rank() {
    equals_one_rank(1, 2, 2);
}

#[test]
fn pipeline_2_equals_one_rank() {
    equals_one_rank(2, 1, 1);
}

#[test]
fn expert_4_equals_one_rank() {
    equals_one_rank(1, 4, 4);
}

#[test]
fn data_4_with_expert_2_equals_one_rank() {
    equals_one_rank(1, 4, 2);
}

#[test]
fn data_2_with_expert_1_equals_one_rank() {
    equals_one_rank(1, 2, 1);
}

#[test]
fn pipeline_4_equals_one_rank() {
    equals_one_rank(4, 1, 1);
}

/// Under another schedule than 1F1B, `n_virtual` stages a rank.
fn schedule_equals_one_rank(schedule: &str, n_virtual: u32, grid: (u32, u32, u32)) {
    let one = &*ONE_RANK;
    let folder = tempfile::tempdir().expect("a folder");
    let n_virtual = n_virtual.to_string();
    let job = job(folder.path(), grid).with("parallel.schedule", schedule).with("parallel.virtual_stages", &n_virtual);
    let many = train(&job, folder.path(), Backend::Threads, 20, false);
    assert_close(&format!("{schedule}: loss"), &one.losses, &many.losses);
    assert_close(&format!("{schedule}: gradient norm"), &one.norms, &many.norms);
    assert_close(&format!("{schedule}: validation loss"), &[one.validation], &[many.validation]);
}

#[test]
fn gpipe_equals_one_rank() {
    schedule_equals_one_rank("gpipe", 1, (2, 2, 2));
}

#[test]
fn several_stages_a_rank_equal_one_rank() {
    for (schedule, grid) in [("interleaved", (2, 1, 1)), ("interleaved", (2, 2, 2)), ("looped_bfs", (2, 1, 1))] {
        schedule_equals_one_rank(schedule, 2, grid);
    }
    // Both ends of the model on one rank, whose embedding MTP shares.
    schedule_equals_one_rank("interleaved", 4, (1, 2, 2));
}

#[test]
fn split_backward_equals_one_rank() {
    for (schedule, n_virtual, grid) in [
        ("zb_h1", 1, (2, 2, 2)),
        ("zb_h1", 1, (4, 1, 1)),
        ("interleaved_zb", 2, (2, 1, 1)),
        ("zb_v", 1, (2, 1, 1)),
        ("zb_v", 1, (1, 2, 2)),
        ("dualpipe_v", 1, (2, 1, 1)),
        ("dualpipe_v", 1, (2, 2, 2)),
    ] {
        schedule_equals_one_rank(schedule, n_virtual, grid);
    }
}

#[test]
fn stages_that_two_ranks_hold_equal_one_rank() {
    for grid in [(2, 1, 1), (2, 2, 2), (4, 1, 1)] {
        schedule_equals_one_rank("dualpipe", 1, grid);
    }
}

#[test]
fn both_backends_give_the_same_bits() {
    let grid = (2, 2, 2);
    assert_eq!(twenty_steps(grid, Backend::Threads), twenty_steps(grid, Backend::Tcp));
}

#[test]
fn a_checkpoint_of_one_grid_goes_on_under_another() {
    let straight = &*ONE_RANK;
    for (first, second) in [((2, 2, 2), (1, 4, 2)), ((1, 1, 1), (4, 1, 1)), ((1, 4, 4), (2, 1, 1))] {
        let folder = tempfile::tempdir().expect("a folder");
        let ten = |grid, save| train(&job(folder.path(), grid), folder.path(), Backend::Threads, 10, save);
        let (before, after) = (ten(first, true), ten(second, false));
        let losses: Vec<f64> = before.losses.into_iter().chain(after.losses).collect();
        assert_close(&format!("loss on {first:?}, then {second:?},"), &straight.losses, &losses);
        assert_close("validation loss", &[straight.validation], &[after.validation]);
    }
}

/// The gradient of every logical parameter after one step. Copies of it must agree to the bit.
fn gradients(grid: (u32, u32, u32)) -> BTreeMap<String, Vec<f64>> {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = plan(&job(folder.path(), grid));
    let of_ranks = on_threads(&plan, Backend::Threads, |rank, endpoint| {
        let mut trainer = trainer(&plan, rank, endpoint, folder.path());
        trainer.step(false).expect("a step");
        let of_rank = by_name(trainer.model(), |slot| slot.of(trainer.gradients()));
        trainer.leave().expect("all ranks leave");
        of_rank
    });
    joined(of_ranks)
}

#[test]
fn every_gradient_is_that_of_one_rank_also_of_an_embedding_that_stages_share() {
    let one = gradients((1, 1, 1));
    assert!(one.keys().any(|name| name.contains("embed")), "{:?}", one.keys());
    for grid in [(2, 1, 1), (4, 1, 1), (2, 2, 2)] {
        let many = gradients(grid);
        assert_eq!(one.keys().collect::<Vec<_>>(), many.keys().collect::<Vec<_>>());
        for (name, expected) in &one {
            let norm = expected.iter().map(|g| g * g).sum::<f64>().sqrt();
            let error = expected.iter().zip(&many[name]).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            assert!(error <= 1e-10 * norm, "{grid:?}: {name} is off by {error}, its norm is {norm}");
            assert!(norm > 0.0, "{name} has no gradient");
        }
    }
}
