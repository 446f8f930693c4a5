//! Every legal grid of up to eight ranks under every schedule is one rank: losses and updated weights of five steps.
#![cfg(feature = "train")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use ds_plan::JobPlan;
use ds_plan::spec::{ScheduleKind, read};
use ds_tests::job::Job;
use ds_tests::ranks::{Backend, by_name, joined, on_threads, trainer};

const N_STEPS: usize = 5;
const RANKS_MAX: u32 = 8;
/// Relative, in f64, where no rounding flips a choice of the gate.
const ALLOWED: f64 = 1e-5;

/// What five steps came to.
struct Trained {
    losses: Vec<f64>,
    /// Master weights by logical name.
    weights: BTreeMap<String, Vec<f64>>,
}

/// Eight layers, so that four ranks can hold two stages each; microbatches enough for every schedule.
fn job(folder: &Path) -> Job {
    Job::tiny(folder)
        .with("precision.compute", "f64")
        .with("model.n_layers", 8)
        .with("train.0.batch", 16)
        .with("train.0.sequence", 12)
}

fn planned(job: &Job) -> Option<JobPlan> {
    JobPlan::new(read(&job.yaml(), "job.yaml", job.sets()).ok()?.spec).ok()
}

fn five_steps(plan: &JobPlan, folder: &Path) -> Trained {
    let of_ranks = on_threads(plan, Backend::Threads, |rank, endpoint| {
        let mut trainer = trainer(plan, rank, endpoint, folder);
        let losses = (0..N_STEPS).map(|_| trainer.step(false).expect("a step").metrics.loss).collect();
        // In f64 the model has the master weights themselves.
        let weights = by_name(trainer.model(), |slot| slot.weight(trainer.model()));
        trainer.leave().expect("all ranks leave");
        Trained { losses, weights }
    });
    let losses = of_ranks[0].losses.clone();
    Trained { losses, weights: joined(of_ranks.into_iter().map(|rank| rank.weights)) }
}

/// What every grid is compared with.
static ONE_RANK: LazyLock<Trained> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    five_steps(&planned(&job(folder.path())).expect("a plan"), folder.path())
});

fn check(name: &str, many: &Trained) {
    let one = &*ONE_RANK;
    for (step, (a, b)) in one.losses.iter().zip(&many.losses).enumerate() {
        assert!((a - b).abs() <= ALLOWED * a.abs(), "{name}: loss of step {step}: {b}, on one rank {a}");
    }
    assert!(one.weights.keys().eq(many.weights.keys()), "{name}: other parameters");
    for (parameter, expected) in &one.weights {
        let norm = expected.iter().map(|w| w * w).sum::<f64>().sqrt();
        let apart = expected.iter().zip(&many.weights[parameter]).map(|(a, b)| (a - b) * (a - b));
        let off = apart.sum::<f64>().sqrt();
        assert!(off <= ALLOWED * norm, "{name}: {parameter} is off by {off}, its norm is {norm}");
    }
}

/// All legal grids under a schedule with so many stages a rank, of which there must be `n_legal`. `EVERY_GRID=all` also takes
/// every context axis under every schedule, which takes ten minutes.
fn every_grid(schedule: ScheduleKind, n_virtual: u32, n_legal: usize) {
    // What schedules order is the same on any context axis, so these run under one schedule, unless somebody has time.
    let all = std::env::var_os("EVERY_GRID").is_some_and(|grids| grids == "all");
    let most_context = if all || schedule == ScheduleKind::OneFOneB { RANKS_MAX } else { 1 };
    let mut checked = Vec::new();
    let mut zero = 0;
    for pipeline in 1..=RANKS_MAX {
        let axes = (1..=RANKS_MAX / pipeline)
            .flat_map(|data| (1..=most_context.min(RANKS_MAX / pipeline / data)).map(move |context| (data, context)));
        for (data, context) in axes {
            for expert in (1..=data * context).filter(|expert| (data * context) % expert == 0) {
                let folder = tempfile::tempdir().expect("a folder");
                let job = job(folder.path())
                    .grid(pipeline, data, expert)
                    .with("parallel.context", context)
                    .with("parallel.schedule", schedule)
                    .with("parallel.virtual_stages", n_virtual)
                    .with("parallel.zero", zero);
                let Some(plan) = planned(&job) else { continue };
                let name =
                    format!("{schedule} x{n_virtual}, PP{pipeline} x DP{data} x CP{context}, EP{expert}, ZeRO-{zero}");
                // Every other grid.
                zero = 1 - zero;
                check(&name, &five_steps(&plan, folder.path()));
                checked.push(name);
            }
        }
    }
    assert!(all || checked.len() == n_legal, "{} grids, {n_legal} expected: {checked:?}", checked.len());
    eprintln!("{schedule} x{n_virtual}: {} grids", checked.len());
}

#[test]
fn one_forward_one_backward() {
    every_grid(ScheduleKind::OneFOneB, 1, 60);
}

#[test]
fn gpipe() {
    every_grid(ScheduleKind::GPipe, 1, 26);
}

#[test]
fn interleaved() {
    every_grid(ScheduleKind::Interleaved, 2, 21);
    every_grid(ScheduleKind::Interleaved, 4, 16);
}

#[test]
fn interleaved_zero_bubble() {
    every_grid(ScheduleKind::InterleavedZb, 2, 21);
}

#[test]
fn looped_bfs() {
    every_grid(ScheduleKind::LoopedBfs, 2, 22);
}

#[test]
fn zb_h1() {
    every_grid(ScheduleKind::ZbH1, 1, 26);
}

#[test]
fn zb_v() {
    every_grid(ScheduleKind::ZbV, 1, 22);
}

#[test]
fn dual_pipe() {
    every_grid(ScheduleKind::DualPipe, 1, 11);
}

#[test]
fn dual_pipe_v() {
    every_grid(ScheduleKind::DualPipeV, 1, 22);
}
