//! Experts that move to other ranks take everything with them: nothing that is learnt changes, bit for bit.
#![cfg(feature = "train")]

use std::collections::BTreeMap;
use std::path::Path;

use ds_tests::job::Job;
use ds_tests::ranks::{Backend, on_threads, plan, trainer};
use ds_worker::step::logical;
use tch::Kind;

#[derive(Debug, Default, PartialEq)]
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
        for (name, slot) in logical(trainer.model()) {
            let of = |tensors| Vec::try_from(slot.of(tensors).to_kind(Kind::Double).flatten(0, -1)).expect("numbers");
            trained.weights.insert(name.to_owned(), of(masters));
            trained.averages.extend(averages.map(|averages| (name.to_owned(), of(averages))));
        }
        if save {
            trainer.save().expect("a checkpoint");
        }
        let n_moves = trainer.n_expert_moves();
        trainer.leave().expect("all ranks leave");
        (trained, n_moves)
    });
    let mut all = Trained::default();
    let mut n_moves = 0;
    for (trained, moves) in of_ranks {
        n_moves += moves;
        (all.losses, all.norms, all.validation) = (trained.losses, trained.norms, trained.validation);
        all.weights.extend(trained.weights);
        all.averages.extend(trained.averages);
    }
    (all, n_moves)
}

fn job(folder: &Path, format: &str, grid: (u32, u32, u32)) -> Job {
    let moments = if format == "bf16" { "bf16" } else { "f32" };
    Job::tiny(folder)
        .grid(grid.0, grid.1, grid.2)
        .with("precision.compute", format)
        .with("precision.moments", moments)
        .with("train.0.ema", true)
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
