//! A coordinator of its own, which outlives its jobs, and nodes that join it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::job::Job;
use crate::launch::{Coordinator, wait_until};
use crate::programs::{Ours, dsctl, program, run};

/// An address on loopback where a coordinator can listen, end, and listen again.
///
/// Its port lies below those that the system gives to connecting sockets (`ip_local_port_range`, 32768 and up): a rank
/// that tries to come back while nobody listens could otherwise be given that very port and take it.
///
/// # Panics
/// When no port is free.
pub fn lasting_address() -> String {
    let first = 20_000 + std::process::id() % 10_000;
    let free = (first..first + 1000).map(|port| format!("127.0.0.1:{port}"));
    free.into_iter().find(|address| TcpListener::bind(address).is_ok()).expect("one port of a thousand is free")
}

/// Starts `dsctl coordinator` and waits until it answers; ends with what is returned.
///
/// # Panics
/// When it cannot be started, or does not answer.
pub fn coordinator(home: &Path, address: &str) -> Ours {
    let mut command = dsctl(home);
    command.args(["coordinator", "--listen", address]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = Ours(child.expect("a coordinator starts"));
    let answers = || {
        let url = Coordinator::of(home).map(|coordinator| coordinator.url());
        url.is_some_and(|url| run(dsctl(home).args(["list", "--coordinator", &url])).0 == Some(0))
    };
    wait_until("the coordinator", answers);
    child
}

/// A node agent of this machine; ends with what is returned.
///
/// # Panics
/// When it cannot be started.
pub fn node(coordinator: &Coordinator) -> Ours {
    let child = Command::new(program("ds-worker"))
        .args(["node", "--join", &coordinator.url(), "--name", "n1"])
        .env("DSCTL_TOKEN", &coordinator.token)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ours(child.expect("a node agent starts"))
}

/// Hands a job to a coordinator and returns the job's id.
///
/// # Panics
/// When it is refused.
pub fn submit(home: &Path, job: &Job, url: &str) -> String {
    let (path, sets) = job.write();
    let arguments = ["launch", "--detach", "--coordinator", url, "--format", "json"];
    let (code, stdout, stderr) = run(dsctl(home).args(arguments).arg(path).args(sets));
    assert_eq!(code, Some(0), "{stderr}");
    let submitted: Value = serde_json::from_str(&stdout).expect("JSON");
    submitted["job"].as_str().expect("an id").to_owned()
}
