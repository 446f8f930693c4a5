//! Any gRPC client can talk to the coordinator: one in Python that knows nothing but address and token.
#![cfg(feature = "train")]

use std::path::{Path, PathBuf};
use std::process::Command;

use ds_tests::job::Job;
use ds_tests::launch::Coordinator;
use ds_tests::standalone::{coordinator, node, submit};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

#[test]
fn a_python_client_lists_jobs_and_watches_one_by_reflection() {
    let python = root().join(".venv-clients/bin/python");
    assert!(python.is_file(), "{} is missing: `make test` makes it", python.display());
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    // A coordinator that outlives the job, so that it answers however late the client comes.
    let _coordinator = coordinator(&home, "127.0.0.1:0");
    let address = Coordinator::of(&home).expect("it runs");
    let _node = node(&address);
    let id = submit(&home, &Job::tiny(folder.path()), &address.url());
    let output = Command::new(python)
        .arg(root().join("tests/clients/list_and_watch.py"))
        .arg(address.address)
        .arg(address.token)
        .arg(&id)
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(seen["jobs"], serde_json::json!([id]));
    let steps: Vec<u64> = seen["steps"].as_array().expect("steps").iter().filter_map(Value::as_u64).collect();
    assert!(steps.is_sorted() && steps.last() == Some(&20), "it saw the last step: {steps:?}");
    assert_eq!(seen["without_token"], "UNAUTHENTICATED");
}
