//! Experts that move to other ranks take everything with them: nothing that is learnt changes, bit for bit.
#![cfg(feature = "train")]

use std::collections::BTreeMap;
use std::path::Path;

use ds_tests::job::Job;
use ds_tests::ranks::{Backend, by_name, joined, on_threads, plan, trainer};

#[derive(Clone, Debug, Default, PartialEq)]
struct Trained {
    losses: Vec<f64>,
    norms: Vec<f64>,
    validation: f64,
    /// By logical name.
    weights: BTreeMap<String, Vec<f64>>,
    averages: BTreeMap<String, Vec<f64>>,
}

/// Steps from the newest checkpoint in `folder`, or the initial weights; and the moves of experts on all ranks.
fn steps(job: &Job, folder: &Path, n_steps: usize, save: bool) -> (Trained, usize) {
    let plan = plan(job);
    let of_ranks = on_threads(&plan, Backend::Threads, |rank, endpoint| {
        let mut trainer = trainer(&plan, rank, endpoint, folder);
        let mut trained = Trained::default();
        for _ in 0..n_steps {
            let metrics = trainer.step(false).expect("a step").metrics;
            trained.losses.push(metrics.loss);
            trained.norms.push(metrics.grad_norm);
        }
        trained.validation = trainer.evaluate().expect("the held-out text").expect("there is some").loss;
        let (masters, averages) = trainer.weights_and_average().expect("weights");
        trained.weights = by_name(trainer.model(), |slot| slot.of(masters));
        trained.averages = averages.map_or_else(BTreeMap::new, |all| by_name(trainer.model(), |slot| slot.of(all)));
        if save {
            trainer.save().expect("a checkpoint");
        }
        let n_moves = trainer.n_expert_moves();
        trainer.leave().expect("all ranks leave");
        (trained, n_moves)
    });
    let n_moves = of_ranks.iter().map(|(_, moves)| moves).sum();
    let Trained { losses, norms, validation, .. } = of_ranks[0].0.clone();
    let (weights, averages): (Vec<_>, Vec<_>) =
        of_ranks.into_iter().map(|(trained, _)| (trained.weights, trained.averages)).unzip();
    (Trained { losses, norms, validation, weights: joined(weights), averages: joined(averages) }, n_moves)
}

fn job(folder: &Path, format: &str, grid: (u32, u32, u32)) -> Job {
    Job::tiny(folder).grid(grid.0, grid.1, grid.2).format(format).with("train.0.ema", true)
}

/// Experts move as soon as loads differ at all.
fn moving(job: Job) -> Job {
    let sets = [("placement", "eplb"), ("rebalance_every", "2"), ("rebalance_above", "0"), ("rebalance_gain", "0")];
    sets.into_iter().fold(job, |job, (key, value)| job.with(&format!("balance.{key}"), value))
}

#[test]
fn what_is_learnt_does_not_depend_on_where_experts_live() {
    for (format, grid, schedule) in [
        ("f32", (1, 2, 2), "1f1b"),
        ("f64", (1, 4, 4), "1f1b"),
        ("f32", (2, 4, 2), "1f1b"),
        ("bf16", (2, 2, 2), "zb_h1"),
        ("f32", (2, 2, 2), "dualpipe"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let job = job(folder.path(), format, grid).with("parallel.schedule", schedule);
        let (fixed, none) = steps(&job, folder.path(), 7, false);
        let (moved, n_moves) = steps(&moving(job), folder.path(), 7, false);
        assert_eq!(none, 0);
        assert!(n_moves > 0, "{format} {grid:?}: nothing has moved");
        assert!(fixed == moved, "{format} {grid:?} {schedule}: {:?}, fixed {:?}", moved.losses, fixed.losses);
    }
}

#[test]
fn with_sums_within_nodes_losses_are_within_rounding() {
    let folder = tempfile::tempdir().expect("a folder");
    let job =
        job(folder.path(), "f64", (1, 4, 4)).with("parallel.exchange", "node_limited").with("cluster.gpus_per_node", 2);
    let (fixed, _) = steps(&job, folder.path(), 7, false);
    let (moved, n_moves) = steps(&moving(job), folder.path(), 7, false);
    assert!(n_moves > 0, "nothing has moved");
    for (a, b) in fixed.losses.iter().zip(&moved.losses) {
        assert!((a - b).abs() <= 1e-5 * a, "{a} and {b}");
    }
}

#[test]
fn a_checkpoint_knows_no_places() {
    let [straight, moved] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let of = |folder: &Path| job(folder, "f32", (2, 2, 2));
    steps(&of(straight.path()), straight.path(), 5, true);
    let (_, n_moves) = steps(&moving(of(moved.path())), moved.path(), 5, true);
    assert!(n_moves > 0, "nothing has moved");
    let expected = steps(&of(straight.path()), straight.path(), 5, false).0;
    let found = steps(&moving(of(moved.path())), moved.path(), 5, false).0;
    assert!(expected == found, "{:?}, fixed {:?}", found.losses, expected.losses);
}
