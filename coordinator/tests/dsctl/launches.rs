//! `launch` and its mistakes: everything is looked at before anything starts, and nothing stays behind.

use std::fs;
use std::process::{Command, Stdio};

use crate::place::Place;

#[test]
fn a_missing_worker_says_how_it_is_made() {
    let place = Place::new();
    place.dsctl(&["launch", "job.yaml"]).ended(64, &["ds-worker is missing", "hint: make build"]);
    assert!(!place.home().join("state.sqlite").exists(), "nothing was started");
}

#[test]
fn missing_data_is_named_with_its_key() {
    let place = Place::new();
    place.fake_worker("exit 0");
    fs::remove_file(place.path("validation.txt")).unwrap();
    place.dsctl(&["launch", "job.yaml"]).ended(64, &["data.validation: cannot read", "validation.txt", "hint: "]);
    fs::write(place.path("validation.txt"), "x").unwrap();
    fs::write(place.path("train.txt"), "too short").unwrap();
    place.dsctl(&["launch", "job.yaml"]).ended(64, &["data.train", "tokens, a sequence of 32 needs"]);
}

#[test]
fn a_job_that_is_planned_only_is_planned_and_launched_by_nobody() {
    let place = Place::new();
    place.fake_worker("exit 0");
    let sets = ["--set", "parallel.recompute=full"];
    assert_eq!(place.dsctl(&[&["plan", "job.yaml"][..], &sets].concat()).code, Some(0));
    assert_eq!(place.dsctl(&[&["check", "job.yaml"][..], &sets].concat()).code, Some(0));
    let said = place.dsctl(&[&["launch", "job.yaml"][..], &sets].concat());
    said.ended(64, &["parallel.recompute full is planned, but workers run none and norms only", "hint: dsctl plan"]);
    assert!(!place.home().join("state.sqlite").exists(), "nothing was started");
}

#[test]
fn a_machine_that_is_too_small_says_so_before_anything_starts() {
    let place = Place::new();
    place.fake_worker("exit 0");
    let sets = ["--set", "cluster.share_devices=false", "--set", "cluster.threads=4096"];
    let said = place.dsctl(&[&["launch", "job.yaml"][..], &sets].concat());
    said.ended(64, &["this machine cannot seat the job", "hint: ", "share_devices"]);
}

#[test]
fn a_node_agent_that_ends_at_once_ends_the_launch_with_its_last_words() {
    let place = Place::new();
    place.fake_worker("echo the library is missing >&2; exit 3");
    let said = place.dsctl(&["launch", "job.yaml"]);
    said.ended(1, &["the node agent of this machine ended", "exit status: 3", "the library is missing", "hint: "]);
    assert!(!place.home().join("coordinator.json").exists(), "the coordinator has ended too");
}

#[test]
fn a_launch_that_is_interrupted_leaves_no_process() {
    let place = Place::new();
    // Whole or not at all.
    place.fake_worker("echo $$ > agent.draft && mv agent.draft agent.pid && exec sleep 1000");
    let mut launch =
        place.command(&["launch", "job.yaml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the agent", || place.path("agent.pid").is_file());
    wait_until("the job", || fs::read_dir(place.home().join("runs")).is_ok_and(|mut runs| runs.next().is_some()));
    // Nobody can seat the job, so that there is nothing to save: the first Ctrl-C is enough.
    let pid = launch.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(launch.wait().unwrap().code(), Some(1));
    let agent = fs::read_to_string(place.path("agent.pid")).unwrap();
    assert!(!std::path::Path::new("/proc").join(agent.trim()).exists(), "the agent lives");
    let listed = place.facts(&["list"]);
    assert_eq!(listed[0]["state"], "cancelled", "{listed}");
}

#[test]
fn a_job_in_the_background_is_accepted_and_can_be_cancelled() {
    let place = Place::new();
    place.fake_worker("exec sleep 1000");
    let accepted = place.facts(&["launch", "job.yaml", "--detach"]);
    let job = accepted["job"].as_str().unwrap();
    let status = place.facts(&["status", "last"]);
    assert_eq!((status["id"].as_str(), status["state"].as_str()), (Some(job), Some("queued")), "{status}");
    place.dsctl(&["launch", "job.yaml"]).ended(64, &["a coordinator runs in", "--coordinator http://"]);
    assert_eq!(place.facts(&["cancel", job, "--now"])["state"], "cancelled");
    let text = fs::read_to_string(place.home().join("coordinator.json")).unwrap();
    let coordinator: serde_json::Value = serde_json::from_str(&text).unwrap();
    let pid = coordinator["pid"].to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    wait_until("its end", || !place.home().join("coordinator.json").exists());
    wait_until("the home is free", || place.facts(&["list"])[0]["state"] == "cancelled");
}

#[expect(clippy::disallowed_methods, reason = "the tests wait for real processes")]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{what} did not come in 120 s");
}
