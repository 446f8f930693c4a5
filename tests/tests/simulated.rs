//! A simulated network: ranks are threads of one process, and every step is played on the fabric of the job. Nothing that
//! is learnt depends on it, and what it says depends on nothing but the job.
#![cfg(feature = "train")]

use std::path::Path;

use ds_proto::{SimulatedStep, StepMetrics};
use ds_tests::in_time::{TooLate, ended_well, in_time, running_at};
use ds_tests::job::Job;
use ds_tests::launch::{Launched, kill, newest_tensors, ranks_of, run_folder, steps, summary};
use ds_tests::programs::{dsctl, run};
use ds_tests::ranks::{Backend, on_threads, plan, trainer};

/// Nodes of two GPUs under leaves of four, with two planes of so many Gbit/s a link; the way from a leaf up is as narrow as
/// `oversubscription` says.
fn fabric(folder: &Path, gigabits: u32, oversubscription: u32) -> String {
    let path = folder.join(format!("fabric-{gigabits}-{oversubscription}.yaml"));
    let yaml = format!(
        "version: 1
name: small
gpu: h800
nodes: 8
node:
  gpus: 2
  within: {{ kind: nvlink, bandwidth: 200GB/s, latency: 1us }}
  nics: 2
  nic: {{ ports: 1, bandwidth: {gigabits}Gbps, latency: 1us }}
network:
  kind: multi_plane_fat_tree
  planes: 2
  radix: {}
  oversubscription: {oversubscription}
  link: {{ bandwidth: {gigabits}Gbps, latency: 400ns }}
",
        4 + 4 / oversubscription
    );
    std::fs::write(&path, yaml).expect("the test's folder can be written");
    path.display().to_string()
}

fn simulated(folder: &Path, grid: (u32, u32, u32)) -> Job {
    Job::tiny(folder)
        .grid(grid.0, grid.1, grid.2)
        .with("cluster.network", "simulated")
        .with("cluster.fabric", fabric(folder, 400, 1))
}

fn trained(job: &Job, folder: &Path) -> Vec<StepMetrics> {
    let plan = plan(job);
    let of_ranks = on_threads(&plan, Backend::Threads, |rank, endpoint| {
        let mut trainer = trainer(&plan, rank, endpoint, folder);
        let steps = (0..3).map(|_| trainer.step(false).expect("a step").metrics).collect::<Vec<_>>();
        trainer.leave().expect("all ranks leave");
        steps
    });
    of_ranks.into_iter().next().expect("rank 0")
}

fn played(steps: &[StepMetrics]) -> Vec<&SimulatedStep> {
    steps.iter().map(|step| step.simulated.as_deref().expect("it was played")).collect()
}

#[test]
fn a_step_is_played_under_every_exchange_and_schedule_and_changes_nothing() {
    for (grid, sets) in [
        ((1, 4, 4), &[][..]),
        ((2, 4, 4), &[("parallel.exchange", "node_limited"), ("cluster.gpus_per_node", "2")]),
        ((2, 2, 2), &[("parallel.schedule", "dualpipe"), ("precision.dispatch", "fp8")]),
        ((2, 2, 2), &[("parallel.schedule", "zb_h1"), ("parallel.zero", "1")]),
        ((2, 2, 1), &[("parallel.schedule", "zb_v"), ("model.n_layers", "4")]),
        (
            (1, 4, 4),
            &[("balance.placement", "eplb"), ("balance.rebalance_every", "1"), ("balance.rebalance_above", "0")],
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let with = |job: Job| sets.iter().fold(job, |job, (key, value)| job.with(key, value));
        let job = with(simulated(folder.path(), grid));
        let steps = trained(&job, folder.path());
        let real = trained(&with(Job::tiny(folder.path()).grid(grid.0, grid.1, grid.2)), folder.path());
        for (ours, theirs) in steps.iter().zip(&real) {
            assert_eq!((ours.loss, ours.grad_norm), (theirs.loss, theirs.grad_norm), "{grid:?} {sets:?}");
            assert_eq!(theirs.simulated, None);
        }
        for step in played(&steps) {
            let shares = step.compute_share + step.exposed_share + step.imbalance_share + step.bubble_share;
            assert!(step.seconds > 0.0 && (shares - 1.0).abs() < 1e-9, "{grid:?} {sets:?}: {step:?}");
            let sent: f64 = step.planes.iter().map(|plane| plane.bytes).sum();
            assert!(step.planes.len() == 2 && sent + step.bytes_within_nodes > 0.0, "{grid:?} {sets:?}: {step:?}");
        }
        assert_eq!(played(&steps), played(&trained(&job, folder.path())), "two runs of one seed are identical");
    }
}

#[test]
fn what_planes_carry_is_what_ranks_sent() {
    // Experts over all eight ranks, one group; between nodes of two.
    let folder = tempfile::tempdir().expect("a folder");
    let job = simulated(folder.path(), (1, 8, 8)).with("cluster.gpus_per_node", "2").with("train.0.batch", "16");
    for step in trained(&job, folder.path()) {
        let simulated = step.simulated.expect("it was played");
        let carried: f64 = simulated.planes.iter().map(|plane| plane.bytes).sum();
        // Beside rows and counts there are the gradients, reduced and gathered.
        assert!(carried > step.exchange.across as f64, "{carried} {:?}", step.exchange);
        assert!(simulated.bytes_within_nodes > step.exchange.within as f64);
    }
}

#[test]
fn a_narrow_spine_makes_the_same_step_longer() {
    let folder = tempfile::tempdir().expect("a folder");
    let [wide, narrow] = [1, 4].map(|oversubscription| {
        // Eight ranks on each leaf, so that the expert group of sixteen crosses the spine; links that such rows fill.
        let job =
            simulated(folder.path(), (1, 16, 16)).with("cluster.fabric", fabric(folder.path(), 1, oversubscription));
        trained(&job.with("model.moe.n_experts", 16).with("train.0.batch", 16), folder.path())
    });
    for ((wide, narrow), (a, b)) in played(&wide).into_iter().zip(played(&narrow)).zip(wide.iter().zip(&narrow)) {
        assert_eq!(a.loss, b.loss);
        assert!(narrow.seconds > 1.05 * wide.seconds, "{} {}", narrow.seconds, wide.seconds);
        assert!(narrow.exposed_share > wide.exposed_share, "{narrow:?} {wide:?}");
    }
}

#[test]
fn sixty_four_ranks_are_threads_of_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/jobs/simulated-64.yaml");
    let _ = Job::tiny(folder.path());
    let home = folder.path().join("home");
    let text = format!("data.train={}", folder.path().join("train.txt").display());
    let (code, stdout, stderr) =
        run(dsctl(&home).arg("launch").arg(job).args(["--set", &text, "--set", "train.0.steps=2"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(steps(&home), [1, 2]);
    let simulated = &summary(&home)["simulated"];
    assert_eq!(simulated["steps"], 2);
    assert_eq!(simulated["step"]["planes"].as_array().map(Vec::len), Some(8));
    for line in ["simulated        a step", "plane 7", "busiest link"] {
        assert!(stdout.contains(line), "{line:?} is not in {stdout}");
    }
    let folder = run_folder(&home).expect("a run");
    let logs: Vec<_> = std::fs::read_dir(folder.join("logs")).expect("logs").collect();
    assert_eq!(logs.len(), 1, "one process has one log");
}

fn kill_the_process(n_steps: u64) -> Result<(), TooLate> {
    let folder = tempfile::tempdir().expect("a folder");
    let job = simulated(folder.path(), (2, 2, 2))
        .with("train.0.steps", n_steps)
        .with("checkpoint.every", 4)
        .with("cluster.max_restarts", 2);
    let home = folder.path().join("broken");
    let launched = running_at(Launched::start(&job, &home), &home, 6)?;
    let Some(&pid) = ranks_of(&home).values().next() else { return Err(TooLate) };
    kill(pid);
    ended_well(launched, &home);
    if summary(&home)["restarts"] == 0 {
        return Err(TooLate);
    }
    assert_eq!(summary(&home)["restarts"], 1);
    let whole = folder.path().join("whole");
    ended_well(Launched::start(&job, &whole), &whole);
    assert!(newest_tensors(&home) == newest_tensors(&whole), "weights differ after the resume");
    Ok(())
}

#[test]
fn a_process_of_ranks_that_is_killed_costs_no_bit() {
    in_time(24, kill_the_process);
}

#[test]
fn a_job_that_cannot_be_played_is_refused_with_the_numbers_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |job: Job, sentences: &[&str]| {
        let (path, sets) = job.write();
        let (code, _, stderr) = run(dsctl(&folder.path().join("home")).arg("launch").arg(path).args(sets));
        assert_eq!(code, Some(64), "{stderr}");
        sentences.iter().for_each(|sentence| assert!(stderr.contains(sentence), "{sentence:?} is not in {stderr}"));
    };
    let small = || simulated(folder.path(), (1, 2, 2));
    let many = simulated(folder.path(), (2, 32, 4)).with("train.0.batch", 64).with("cluster.share_devices", false);
    refused(many, &["64 ranks", "16 endpoints"]);
    refused(small().with("cluster.fabric", "null"), &["cluster.network", "cluster.fabric"]);
    refused(small().with("cluster.device", "cuda"), &["cluster.network", "cluster.device cpu"]);
    refused(small().with("parallel.context", 2), &["parallel.context is 2, it must be 1"]);
    refused(small().with("cluster.hardware", "abacus"), &["abacus"]);
}
