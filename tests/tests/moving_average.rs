//! The moving average of the weights: the formula, whatever the grid, and across a checkpoint.
#![cfg(feature = "train")]

use std::path::Path;

use ds_tests::job::Job;
use ds_tests::ranks::{Backend, on_threads, plan, trainer};
use tch::Tensor;

const DECAY: f64 = 0.75;

/// Averages after `n_steps` more steps, and what the formula makes of the weights; a checkpoint is saved at the end.
fn averages(folder: &Path, (pipeline, data, expert): (u32, u32, u32), n_steps: u32) -> Vec<(Tensor, Tensor)> {
    let job = Job::tiny(folder).grid(pipeline, data, expert).with("precision.compute", "f64");
    let plan = plan(&job.with("train[0].ema", true).with("train[0].ema_decay", DECAY));
    let of_ranks = on_threads(&plan, Backend::Threads, |rank, endpoint| {
        let mut trainer = trainer(&plan, rank, endpoint, folder);
        let copies = |all: &[Tensor]| all.iter().map(Tensor::copy).collect::<Vec<_>>();
        let mut expected = copies(trainer.weights_and_average().expect("it runs").1.expect("the job asks for it"));
        for _ in 0..n_steps {
            trainer.step(false).expect("a step");
            let (weights, _) = trainer.weights_and_average().expect("it runs");
            for (average, weight) in expected.iter_mut().zip(weights) {
                *average = &*average * DECAY + weight * (1.0 - DECAY);
            }
        }
        trainer.save().expect("a checkpoint");
        let found = copies(trainer.weights_and_average().expect("it runs").1.expect("as before"));
        trainer.leave().expect("all ranks leave");
        found.into_iter().zip(expected).collect::<Vec<_>>()
    });
    of_ranks.into_iter().flatten().collect()
}

#[test]
fn it_follows_the_formula_and_goes_on_from_a_checkpoint_of_another_grid() {
    let folder = tempfile::tempdir().expect("a folder");
    for (grid, n_steps) in [((2, 2, 2), 3), ((1, 1, 1), 2)] {
        for (found, expected) in averages(folder.path(), grid, n_steps) {
            assert!(found.allclose(&expected, 1e-12, 1e-15, false), "{grid:?}");
        }
    }
    // Straight on, the last averages are the same: the first attempt's were taken up, not the weights.
    let straight = tempfile::tempdir().expect("a folder");
    let once = averages(straight.path(), (1, 1, 1), 5);
    let again = averages(folder.path(), (1, 1, 1), 0);
    assert_eq!(once.len(), again.len());
    for ((a, _), (b, _)) in once.iter().zip(&again) {
        assert!(a.allclose(b, 1e-9, 1e-12, false), "of shape {:?}", a.size());
    }
}
