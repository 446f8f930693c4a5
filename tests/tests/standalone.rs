//! A coordinator of its own that dies and comes back: ranks go on meanwhile, and nothing is lost.
#![cfg(feature = "train")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use ds_tests::job::Job;
use ds_tests::launch::{Coordinator, Launched, newest_tensors, run_folder, steps, summary, wait_until, workers};
use ds_tests::programs::{Ours, dsctl, program, run};

const N_STEPS: u64 = 60;

fn coordinator(home: &Path, address: &str) -> Ours {
    let mut command = dsctl(home);
    command.args(["coordinator", "--listen", address]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = Ours(child.expect("a coordinator starts"));
    let answers = || run(dsctl(home).args(["list", "--coordinator", &format!("http://{address}")])).0 == Some(0);
    wait_until("the coordinator", || home.join("coordinator.json").is_file() && answers());
    child
}

fn node(coordinator: &Coordinator) -> Ours {
    let child = std::process::Command::new(program("ds-worker"))
        .args(["node", "--join", &coordinator.url(), "--name", "n1"])
        .env("DSCTL_TOKEN", &coordinator.token)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ours(child.expect("a node agent starts"))
}

#[test]
fn ranks_outlive_a_killed_coordinator_and_finish_under_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = Job::tiny(folder.path()).grid(2, 2, 2).with("train[0].steps", N_STEPS).with("checkpoint.every", 20);
    let whole = folder.path().join("whole");
    let (status, talk) = Launched::start(&job, &whole).wait();
    assert!(status.success(), "{talk}");

    let home = folder.path().join("home");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let address = free.to_string();
    let first = coordinator(&home, &address);
    let _node = node(&Coordinator::of(&home).expect("it runs"));
    let (path, sets) = job.write();
    let (code, _, stderr) = run(dsctl(&home)
        .args(["launch", "--detach", "--coordinator", &format!("http://{address}")])
        .arg(path)
        .args(sets));
    assert_eq!(code, Some(0), "{stderr}");
    wait_until("some steps", || steps(&home).last().is_some_and(|&step| step >= 5));
    drop(first);
    assert!(!workers(&address).is_empty(), "ranks outlive their coordinator");

    let _second = coordinator(&home, &address);
    assert_eq!(Coordinator::of(&home).expect("it runs").address, address);
    wait_until("the summary", || run_folder(&home).is_some_and(|run| run.join("summary.json").is_file()));
    let summary = summary(&home);
    assert_eq!((&summary["state"], &summary["restarts"]), (&"done".into(), &0.into()), "{summary}");
    assert_eq!(steps(&home).last(), Some(&N_STEPS));
    assert!(newest_tensors(&whole) == newest_tensors(&home), "the weights differ");
}
