//! Exchange limited by nodes: tokens cross to a node once, results are added on their way, and the numbers are those of
//! one rank. Nodes are cut out of threads.
#![cfg(feature = "train")]

use std::path::Path;
use std::sync::LazyLock;

use ds_tests::job::Job;
use ds_tests::launch::{steps, summary};
use ds_tests::programs::{dsctl, run};
use ds_tests::ranks::{Backend, Trained, train};

const N_STEPS: u64 = 5;

fn job(folder: &Path, (pipeline, data, expert): (u32, u32, u32), gpus_per_node: &str) -> Job {
    Job::tiny(folder)
        .with("precision.compute", "f64")
        .grid(pipeline, data, expert)
        .with("parallel.exchange", "node_limited")
        .with("cluster.gpus_per_node", gpus_per_node)
}

fn trained(grid: (u32, u32, u32), gpus_per_node: &str, backend: Backend, sets: &[(&str, &str)]) -> Trained {
    let folder = tempfile::tempdir().expect("a folder");
    let job = job(folder.path(), grid, gpus_per_node);
    let job = sets.iter().fold(job, |job, (key, value)| job.with(key, value));
    train(&job, folder.path(), backend, N_STEPS, false)
}

/// What every grid is compared with: the plain exchange on one rank.
static ONE_RANK: LazyLock<Trained> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let job = Job::tiny(folder.path()).with("precision.compute", "f64");
    train(&job, folder.path(), Backend::Threads, N_STEPS, false)
});

fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / a.abs()).fold(0.0, f64::max)
}

fn apart_all(a: &Trained, b: &Trained) -> f64 {
    let validation = apart(&[a.validation], &[b.validation]);
    apart(&a.losses, &b.losses).max(apart(&a.norms, &b.norms)).max(validation)
}

#[test]
fn four_nodes_of_two_ranks_equal_one_rank() {
    let apart = apart_all(&ONE_RANK, &trained((1, 8, 8), "2", Backend::Threads, &[]));
    assert!(apart < 1e-5, "{apart}");
}

#[test]
fn nodes_of_every_size_equal_one_rank() {
    // The last: one node, where tokens travel once to every rank.
    for (grid, gpus_per_node) in [((1, 4, 4), "1"), ((2, 4, 4), "2"), ((1, 8, 4), "2"), ((1, 4, 4), "null")] {
        let apart = apart_all(&ONE_RANK, &trained(grid, gpus_per_node, Backend::Threads, &[]));
        assert!(apart < 1e-5, "{grid:?} on nodes of {gpus_per_node}: {apart}");
    }
}

#[test]
fn both_backends_give_the_same_bits() {
    let [threads, tcp] = [Backend::Threads, Backend::Tcp].map(|backend| trained((1, 4, 4), "2", backend, &[]));
    assert_eq!(threads, tcp);
}

#[test]
fn a_gate_that_picks_one_group_leaves_nodes_without_tokens() {
    let sets = [("model.moe.n_groups", "4"), ("model.moe.picked_groups", "1")];
    let folder = tempfile::tempdir().expect("a folder");
    let one = sets.iter().fold(Job::tiny(folder.path()).with("precision.compute", "f64"), |job, (k, v)| job.with(k, v));
    let one = train(&one, folder.path(), Backend::Threads, N_STEPS, false);
    let apart = apart_all(&one, &trained((1, 8, 8), "2", Backend::Threads, &sets));
    assert!(apart < 1e-5, "{apart}");
}

#[test]
fn short_formats_move_the_loss_a_little() {
    let sets = [("precision.dispatch", "fp8"), ("precision.combine", "bf16")];
    let exact = trained((1, 4, 4), "2", Backend::Threads, &[]);
    let rounded = trained((1, 4, 4), "2", Backend::Threads, &sets);
    let (loss, norm) = (apart(&exact.losses, &rounded.losses), apart(&exact.norms, &rounded.norms));
    assert!(loss > 0.0 && loss < 5e-3 && norm < 5e-2, "{loss} {norm}");
}

#[test]
fn sixteen_bits_and_recomputation_work_too() {
    for sets in [&[("precision.compute", "bf16")][..], &[("precision.compute", "f32"), ("parallel.recompute", "norms")]]
    {
        let trained = trained((1, 4, 4), "2", Backend::Threads, sets);
        let apart = apart(&ONE_RANK.losses, &trained.losses);
        assert!(apart < 2e-2, "{sets:?}: {apart}");
    }
}

#[test]
fn the_example_crosses_between_nodes_less_than_a_row_for_every_choice_would() {
    let folder = tempfile::tempdir().expect("a folder");
    let _ = Job::tiny(folder.path());
    let text = |name: &str| folder.path().join(name).display().to_string();
    let sets = [
        ("data.train", text("train.txt")),
        ("data.validation", text("validation.txt")),
        ("train[0].steps", "4".to_owned()),
        ("train[0].learning_rate.warmup", "1".to_owned()),
        ("train[0].learning_rate.pieces[0].steps", "3".to_owned()),
        ("train[0].sequence", "32".to_owned()),
        ("train[0].evaluate_bytes", "2048".to_owned()),
    ];
    let sets: Vec<String> = sets.iter().flat_map(|(key, value)| ["--set".into(), format!("{key}={value}")]).collect();
    let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/jobs/v3-tiny-node-limited.yaml");
    let (code, stdout, stderr) = run(dsctl(folder.path()).arg("launch").arg(&job).args(&sets));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(steps(folder.path()), [1, 2, 3, 4]);
    let exchange = &summary(folder.path())["exchange"];
    let [across, within, saved, routing] =
        ["across", "within", "saved", "routing"].map(|name| exchange[name].as_u64().expect("bytes"));
    assert!(across > 0 && within > 0 && routing > 0, "{exchange}");
    // Of four choices in two groups of experts, two groups a node, more than one is on a node that has any.
    assert!(2 * saved > across, "{exchange}");
    assert!((stdout + &stderr).contains("more across without deduplication"), "the summary says so");
}
