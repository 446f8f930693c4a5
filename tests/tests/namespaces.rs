//! Two machines, as two network namespaces: two node agents train one job under one standalone coordinator.
#![cfg(feature = "train")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use ds_tests::job::Job;
use ds_tests::launch::{Coordinator, kill, ranks_of, run_folder, summary, wait_until, workers};
use ds_tests::not_run;
use ds_tests::programs::{Ours, dsctl, program, run};
use ds_tests::standalone::{self, submit};
use serde_json::Value;

/// A bridge with two namespaces behind it; gone when dropped.
struct Network {
    /// Of the names of bridge, links and namespaces.
    prefix: String,
    /// The first three numbers of every address; two test runs at once have different ones.
    net: String,
}

impl Network {
    /// None where namespaces cannot be made (no root, no iproute2).
    fn new() -> Option<Self> {
        let id = std::process::id() % 0xfff;
        let network = Self { prefix: format!("ds{id:x}"), net: format!("10.{}.{}", 64 + id / 256, id % 256) };
        let Self { prefix: p, net } = &network;
        let mut commands = vec![
            format!("ip link add {p}b type bridge"),
            format!("ip addr add {net}.254/24 dev {p}b"),
            format!("ip link set {p}b up"),
        ];
        for i in [1, 2] {
            commands.extend([
                format!("ip netns add {p}n{i}"),
                format!("ip link add {p}v{i} type veth peer name eth0 netns {p}n{i}"),
                format!("ip link set {p}v{i} master {p}b up"),
                format!("ip -n {p}n{i} addr add {net}.{i}/24 dev eth0"),
                format!("ip -n {p}n{i} link set eth0 up"),
                format!("ip -n {p}n{i} link set lo up"),
            ]);
        }
        commands.iter().all(|command| ip(command)).then_some(network)
    }

    fn node(&self, i: u32, coordinator: &Coordinator, folder: &Path) -> Ours {
        let log = fs::File::create(folder.join(format!("node{i}.txt"))).expect("the test's folder can be written");
        let agent = Command::new("ip")
            .args(["netns", "exec", &format!("{}n{i}", self.prefix)])
            .arg(program("ds-worker"))
            .args(["node", "--join", &coordinator.url(), "--name", &format!("n{i}"), "--cores", "2"])
            .args(["--address", &format!("{}.{i}", self.net)])
            .env("DSCTL_TOKEN", &coordinator.token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a node agent starts");
        Ours(agent)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for i in [1, 2] {
            ip(&format!("ip netns del {}n{i}", self.prefix));
        }
        ip(&format!("ip link del {}b", self.prefix));
    }
}

fn ip(command: &str) -> bool {
    let mut words = command.split(' ');
    let status = Command::new(words.next().expect("a program")).args(words).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn view(home: &Path, arguments: &[&str]) -> Value {
    let (code, stdout, stderr) = run(dsctl(home).args(arguments).args(["--format", "json"]));
    assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{arguments:?} prints JSON: {stdout}"))
}

fn cancel(home: &Path, arguments: &[&str]) {
    let (code, _, stderr) = run(dsctl(home).arg("cancel").args(arguments));
    assert_eq!(code, Some(0), "{stderr}");
}

fn state(home: &Path, job: &str) -> String {
    view(home, &["status", job])["state"].as_str().expect("a state").to_owned()
}

#[test]
fn two_nodes_train_one_job_and_a_second_one_waits_its_turn() {
    let Some(network) = Network::new() else {
        not_run("network namespaces need root and iproute2");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let _coordinator = standalone::coordinator(&home, &format!("{}.254:0", network.net));
    let coordinator = Coordinator::of(&home).expect("it runs");
    let url = &coordinator.url();
    let nodes = [1, 2].map(|i| network.node(i, &coordinator, folder.path()));
    wait_until("both nodes", || view(&home, &["nodes"]).as_array().is_some_and(|nodes| nodes.len() == 2));

    // Four ranks of one core each fill both nodes, so the second job has to wait.
    // Neither ends by itself.
    let job = Job::tiny(folder.path()).grid(2, 2, 2).with("cluster.share_devices", false);
    let job = job.with("train[0].steps", 100_000);
    let first = submit(&home, &job, url);
    let second = submit(&home, &job, url);
    wait_until("the first job runs", || state(&home, &first) == "running");
    assert_eq!(state(&home, &second), "queued");
    let nodes_used: std::collections::BTreeSet<String> = view(&home, &["status", &first])["seats"]
        .as_array()
        .expect("seats")
        .iter()
        .filter_map(|seat| seat["node"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(nodes_used.len(), 2, "the ranks lie on both nodes");
    wait_until("a step of it", || view(&home, &["status", &first])["step"].as_u64().is_some_and(|step| step > 0));
    cancel(&home, &[&first]);
    wait_until("the first job ends", || state(&home, &first) == "cancelled");
    wait_until("the second job runs", || state(&home, &second) == "running");

    // Which processes must end with the first node.
    let processes = ranks_of(&home);
    let status = view(&home, &["status", &second]);
    let on_first_node = status["seats"].as_array().expect("seats").iter().filter(|seat| seat["node"] == "n1");
    let victims: Vec<u32> =
        on_first_node.map(|seat| processes[&(seat["rank"].as_u64().expect("a rank") as u32)]).collect();
    assert_eq!(victims.len(), 2, "{status}");
    // The agent itself, not `ip netns exec`, which has become it.
    kill(nodes[0].0.id());
    wait_until("the killed node's ranks end", || {
        !workers(&coordinator.address).iter().any(|(pid, _)| victims.contains(pid))
    });
    // One node is left, which is too small: the job waits for another, and says so.
    wait_until("the second job waits again", || state(&home, &second) == "queued");
    let reason = view(&home, &["status", &second])["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("core"), "what it waits for: {reason}");
    cancel(&home, &[&second, "--now"]);
    wait_until("the second job is cancelled", || state(&home, &second) == "cancelled");
    wait_until("its summary", || run_folder(&home).is_some_and(|folder| folder.join("summary.json").is_file()));
    assert_eq!(summary(&home)["state"], "cancelled");
}
