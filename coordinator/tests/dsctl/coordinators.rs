//! Commands that talk to a coordinator: to one, to none, and to what one left.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::place::{Place, run};

/// `dsctl coordinator`, ended when dropped.
struct Coordinator {
    child: Child,
    url: String,
}

impl Coordinator {
    fn start(place: &Place) -> Self {
        let arguments = ["coordinator", "--listen", "127.0.0.1:0", "--format", "json"];
        let mut child = place.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut text = String::new();
        while serde_json::from_str::<Value>(&text).is_err() {
            text.push_str(&lines.next().expect("it says where it listens").unwrap());
        }
        let facts: Value = serde_json::from_str(&text).unwrap();
        Self { child, url: facts["address"].as_str().unwrap().to_owned() }
    }

    fn end(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_home_where_nothing_ran_has_no_jobs() {
    let place = Place::new();
    assert_eq!(place.facts(&["list"]), serde_json::json!([]));
    assert_eq!(place.facts(&["nodes"]), serde_json::json!([]));
    assert!(place.dsctl(&["list"]).stdout.starts_with("JOB "));
    for command in ["status", "logs", "watch", "cancel", "resume"] {
        place.dsctl(&[command, "last"]).ended(64, &["there is no job yet", "hint: dsctl launch"]);
        place.dsctl(&[command, "tiny-1"]).ended(64, &["there is no job tiny-1"]);
    }
    assert!(!place.home().exists(), "looking makes nothing");
}

#[test]
fn a_job_waits_for_nodes_is_cancelled_and_is_known_after_the_coordinator_ended() {
    let place = Place::new();
    let coordinator = Coordinator::start(&place);
    let url = coordinator.url.clone();
    let accepted = place.facts(&["launch", "job.yaml", "--detach", "--coordinator", &url, "--priority", "-3"]);
    let job = accepted["job"].as_str().unwrap().to_owned();
    let status = place.facts(&["status", &job]);
    assert_eq!((status["state"].as_str(), status["priority"].as_i64()), (Some("queued"), Some(-3)), "{status}");
    assert!(!status["reason"].as_str().unwrap().is_empty(), "it says what it waits for: {status}");
    assert_eq!(place.facts(&["list", "--coordinator", &url])[0]["id"], job.as_str());
    assert_eq!(place.facts(&["nodes"]), serde_json::json!([]));
    place.dsctl(&["logs", &job]).ended(0, &[]);
    place.dsctl(&["logs", &job, "--rank", "99"]).ended(64, &["99"]);
    assert_eq!(place.facts(&["cancel", &job, "--now"])["state"], "cancelled");
    let watched = place.dsctl(&["watch", &job]);
    assert_eq!(watched.code, Some(1), "{watched:?}");
    assert!(watched.stdout.starts_with("cancelled: tiny"), "{watched:?}");
    assert_eq!(coordinator.end(), Some(0));

    let status = place.facts(&["status", "last"]);
    assert_eq!((status["id"].as_str(), status["state"].as_str()), (Some(job.as_str()), Some("cancelled")));
    assert_eq!(status["folder"].as_str(), place.home().join("runs").join(&job).to_str());
    place.dsctl(&["logs", "last", "--tail", "5"]).ended(0, &[]);
    let watched = place.facts_of_failure(&["watch", &job]);
    assert_eq!(watched["state"], "cancelled");
    let left: Vec<_> = std::fs::read_dir(place.home()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".look")), "{left:?}");
}

#[test]
fn a_job_that_waits_in_a_home_without_a_coordinator_can_be_cancelled() {
    let place = Place::new();
    let coordinator = Coordinator::start(&place);
    let accepted = place.facts(&["launch", "job.yaml", "--detach", "--coordinator", &coordinator.url]);
    let job = accepted["job"].as_str().unwrap();
    assert_eq!(coordinator.end(), Some(0));
    assert_eq!(place.facts(&["status", job])["state"], "queued");
    place.dsctl(&["watch", job]).ended(64, &["has not ended", "hint: dsctl resume"]);
    assert_eq!(place.facts(&["cancel", job])["state"], "cancelled");
    assert_eq!(place.facts(&["status", job])["state"], "cancelled");
}

#[test]
fn one_home_and_one_port_have_one_coordinator() {
    let place = Place::new();
    let coordinator = Coordinator::start(&place);
    place.dsctl(&["coordinator", "--listen", "127.0.0.1:0"]).ended(64, &["a coordinator runs there already"]);
    let address = coordinator.url.trim_start_matches("http://");
    let elsewhere = place.path("elsewhere");
    let said = run(place.command(&["coordinator", "--listen", address]).env("DSCTL_HOME", elsewhere));
    said.ended(64, &["is taken by another program", "hint: "]);
}

#[test]
fn a_coordinator_wants_its_token() {
    let place = Place::new();
    let coordinator = Coordinator::start(&place);
    let elsewhere = place.path("elsewhere");
    let ask = ["list", "--coordinator", &coordinator.url];
    run(place.command(&ask).env("DSCTL_HOME", &elsewhere)).ended(64, &["there is no token", "hint: set DSCTL_TOKEN"]);
    let wrong = run(place.command(&ask).env("DSCTL_TOKEN", "wrong"));
    wrong.ended(64, &["refused this token", "hint: set DSCTL_TOKEN"]);
    run(&mut place.command(&ask)).ended(0, &[]);
}

#[test]
fn nobody_there_is_no_mistake_of_the_user_and_no_address_is_one() {
    let place = Place::new();
    let ask = |url: &str| run(place.command(&["list", "--coordinator", url]).env("DSCTL_TOKEN", "t"));
    ask("http://127.0.0.1:1").ended(1, &["cannot be reached", "hint: "]);
    ask("somewhere").ended(64, &["--coordinator somewhere is no address", "hint: "]);
}
