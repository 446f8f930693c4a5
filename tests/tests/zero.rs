//! Under ZeRO-1 a matrix has one owner, and nothing else changes: losses, norms and weights are the same, bit for bit, and
//! checkpoints go on with it and without.
#![cfg(feature = "train")]

use std::collections::BTreeMap;
use std::path::Path;

use ds_tests::job::Job;
use ds_tests::ranks::{Backend, by_name, on_threads, plan, trainer};

#[derive(Debug, PartialEq)]
struct Trained {
    losses: Vec<f64>,
    norms: Vec<f64>,
    validation: f64,
    /// Of rank after rank, by logical name, as the model reads them.
    weights: Vec<BTreeMap<String, Vec<f64>>>,
    /// Elements that the rank with the most updates.
    n_masters: usize,
}

/// Five steps from the newest checkpoint in `folder`, or the initial weights.
fn five_steps(job: &Job, folder: &Path, save: bool) -> Trained {
    let plan = plan(job);
    let of_ranks = on_threads(&plan, Backend::Threads, |rank, endpoint| {
        let mut trainer = trainer(&plan, rank, endpoint, folder);
        let done: Vec<_> = (0..5).map(|_| trainer.step(false).expect("a step").metrics).collect();
        let validation = trainer.evaluate().expect("the held-out text").expect("there is some").loss;
        let weights = by_name(trainer.model(), |slot| slot.weight(trainer.model()));
        let (masters, _) = trainer.weights_and_average().expect("weights");
        let n_masters = masters.iter().map(tch::Tensor::numel).sum::<usize>();
        if save {
            trainer.save().expect("a checkpoint");
        }
        trainer.leave().expect("all ranks leave");
        (done, validation, weights, n_masters)
    });
    Trained {
        losses: of_ranks[0].0.iter().map(|step| step.loss).collect(),
        norms: of_ranks[0].0.iter().map(|step| step.grad_norm).collect(),
        validation: of_ranks[0].1,
        n_masters: of_ranks.iter().map(|rank| rank.3).max().expect("there is a rank"),
        weights: of_ranks.into_iter().map(|rank| rank.2).collect(),
    }
}

fn job(folder: &Path, format: &str, grid: (u32, u32, u32), zero: u32) -> Job {
    Job::tiny(folder).grid(grid.0, grid.1, grid.2).format(format).with("train.0.ema", true).with("parallel.zero", zero)
}

const GRIDS: [(u32, u32, u32); 5] = [(1, 2, 1), (1, 2, 2), (2, 2, 1), (2, 4, 2), (1, 4, 1)];

#[test]
fn losses_norms_and_weights_are_those_without_it_bit_for_bit() {
    for format in ["f32", "f64", "bf16"] {
        for grid in GRIDS {
            let folder = tempfile::tempdir().expect("a folder");
            let [without, with] =
                [0, 1].map(|zero| five_steps(&job(folder.path(), format, grid, zero), folder.path(), false));
            assert_eq!(without.losses, with.losses, "{format} {grid:?}");
            assert_eq!(without.norms, with.norms, "{format} {grid:?}");
            assert_eq!(without.validation, with.validation, "{format} {grid:?}");
            assert!(without.weights == with.weights, "{format} {grid:?}: weights");
            // Experts have fewer replicas than all else.
            let (all, own) = (without.n_masters as f64, with.n_masters as f64);
            let share = if grid.1 == grid.2 { 0.9 } else { 0.6 };
            assert!(own < share * all, "{format} {grid:?}: a rank owns {own} of {all} elements");
        }
    }
}

#[test]
fn stages_that_two_ranks_hold_stay_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = |zero| {
        let job = job(folder.path(), "f32", (2, 2, 1), zero).with("parallel.schedule", "dualpipe");
        five_steps(&job, folder.path(), false)
    };
    let (without, with) = (of(0), of(1));
    assert_eq!((without.losses, without.weights), (with.losses, with.weights));
}

#[test]
fn checkpoints_go_on_with_it_and_without() {
    for format in ["f32", "bf16"] {
        for (first, second) in [(0, 1), (1, 0), (1, 1)] {
            let [straight, broken] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
            let of = |folder: &Path, zero, save| five_steps(&job(folder, format, (2, 2, 2), zero), folder, save);
            of(straight.path(), 0, true);
            of(broken.path(), first, true);
            let (expected, found) = (of(straight.path(), 0, false), of(broken.path(), second, false));
            assert_eq!(expected.losses, found.losses, "{format}: {first}, then {second}");
            assert!(expected.weights == found.weights, "{format}: {first}, then {second}: weights");
        }
    }
}
