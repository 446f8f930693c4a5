//! A job under `mpirun` is the job that threads run, to the bit.
#![cfg(feature = "mpi")]
#![expect(clippy::unwrap_used, reason = "a test may end where it stands; helpers of tests are tests too")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use ds_plan::spec::read;
use ds_plan::{JobPlan, RankId};
use ds_worker::comm::threads;
use ds_worker::trainer::{Setup, Trainer};
use serde_json::Value;

const N_STEPS: u64 = 3;

fn job() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/jobs/v3-tiny-mpi.yaml")
}

/// Less of everything but the network, on a text of `folder`.
fn sets(folder: &Path) -> Vec<(String, String)> {
    let mut text = String::new();
    (0..2000).for_each(|i| writeln!(text, "line {i} of {}", i * 7919 % 1000).unwrap());
    std::fs::write(folder.join("text"), text).unwrap();
    let text = folder.join("text").display().to_string();
    let sets = [
        ("data.train", text.as_str()),
        ("data.validation", text.as_str()),
        ("train[0].steps", "3"),
        ("train[0].learning_rate.warmup", "1"),
        ("train[0].learning_rate.pieces[0].steps", "2"),
        ("train[0].batch", "8"),
        ("train[0].microbatch", "2"),
        ("train[0].sequence", "32"),
        ("train[0].evaluate_bytes", "2048"),
        ("cluster.comm_timeout", "60s"),
    ];
    sets.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn mpirun(n: u32, folder: &Path, sets: &[(String, String)]) -> Output {
    let mut command = Command::new("mpirun");
    command.args(["--timeout", "300", "--allow-run-as-root", "--oversubscribe", "-np", &n.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_ds-worker")).arg("mpi").arg(job()).arg("--folder").arg(folder);
    command.args(sets.iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]));
    command.output().expect("mpirun of Open MPI is there")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn losses_on_threads(folder: &Path, sets: &[(String, String)]) -> Vec<f64> {
    let yaml = std::fs::read_to_string(job()).unwrap();
    let read = read(&yaml, &job().to_string_lossy(), sets).unwrap_or_else(|problems| panic!("{problems}"));
    let plan = &JobPlan::new(read.spec).unwrap();
    let setup = &Setup {
        device: "cpu".to_owned(),
        checkpoints: folder.join("checkpoints"),
        token_cache: folder.join("tokens"),
    };
    let of_ranks: Vec<Vec<f64>> = thread::scope(|scope| {
        let ranks: Vec<_> = threads(plan.grid().n_ranks() as usize)
            .into_iter()
            .map(|endpoint| {
                scope.spawn(move || {
                    tch::set_num_threads(1);
                    let mut trainer = Trainer::new(plan, endpoint.rank(), &endpoint, setup.clone()).unwrap();
                    let losses = (0..N_STEPS).map(|_| trainer.step(false).unwrap().metrics.loss).collect();
                    trainer.leave().unwrap();
                    endpoint.close();
                    losses
                })
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    assert_eq!(plan.grid().ranks().next(), Some(RankId(0)));
    of_ranks[0].clone()
}

#[test]
fn four_processes_train_as_four_threads_do_and_go_on_where_they_ended() {
    let folder = tempfile::tempdir().unwrap();
    let sets = sets(folder.path());
    let output = mpirun(4, &folder.path().join("run"), &sets);
    assert!(output.status.success(), "{}", text(&output));
    let lines: Vec<Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["loss"].as_f64()).collect();
    assert_eq!(losses, losses_on_threads(folder.path(), &sets));
    assert!(lines.iter().any(|line| line["evaluation"]["loss"].as_f64() > Some(0.0)), "{lines:?}");
    let checkpoint = lines.iter().find_map(|line| line["checkpoint"].as_str()).expect("a checkpoint at the end");
    assert!(Path::new(checkpoint).is_dir(), "{checkpoint}");
    // There is nothing left to do.
    let again = mpirun(4, &folder.path().join("run"), &sets);
    assert!(again.status.success() && !text(&again).contains("\"loss\""), "{}", text(&again));
}

#[test]
fn another_number_of_processes_is_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let output = mpirun(2, folder.path(), &sets(folder.path()));
    assert!(!output.status.success());
    let sentence = "the job has 4 ranks, mpirun started 2 processes; start it with mpirun -np 4";
    assert!(text(&output).contains(sentence), "{}", text(&output));
}
