//! Two machines, as two network namespaces: two node agents train one job under one standalone coordinator.
#![cfg(feature = "train")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use ds_tests::in_time::ended_well;
use ds_tests::job::Job;
use ds_tests::launch::{
    Coordinator, Launched, kill, newest_tensors, ranks_of, run_folder, summary, wait_until, workers,
};
use ds_tests::not_run;
use ds_tests::programs::{Ours, dsctl, program, run};
use ds_tests::standalone::{self, submit};
use serde_json::Value;

/// Two namespaces with a link to a bridge for every plane; gone when dropped.
struct Network {
    /// Of the names of bridges, links and namespaces.
    prefix: String,
    /// The first number of the addresses' middle; two networks at once have different ones.
    id: u32,
    n_planes: u32,
}

impl Network {
    /// None where namespaces cannot be made (no root, no iproute2).
    fn new(n_planes: u32) -> Option<Self> {
        let id = (std::process::id() * 4 + n_planes) % 0xfff;
        let network = Self { prefix: format!("ds{id:x}"), id, n_planes };
        let p = &network.prefix;
        let mut commands: Vec<String> = [1, 2].map(|i| format!("ip netns add {p}n{i}")).into();
        commands.extend([1, 2].map(|i| format!("ip -n {p}n{i} link set lo up")));
        for plane in 0..n_planes {
            let outside = network.address(plane, 254);
            commands.extend([
                format!("ip link add {p}b{plane} type bridge"),
                format!("ip addr add {outside}/24 dev {p}b{plane}"),
                format!("ip link set {p}b{plane} up"),
            ]);
            for i in [1, 2] {
                let inside = network.address(plane, i);
                commands.extend([
                    format!("ip link add {p}v{i}{plane} type veth peer name eth{plane} netns {p}n{i}"),
                    format!("ip link set {p}v{i}{plane} master {p}b{plane} up"),
                    format!("ip -n {p}n{i} addr add {inside}/24 dev eth{plane}"),
                    format!("ip -n {p}n{i} link set eth{plane} up"),
                ]);
            }
        }
        commands.iter().all(|command| ip(command)).then_some(network)
    }

    fn address(&self, plane: u32, host: u32) -> String {
        format!("10.{}.{}.{host}", 64 + self.id / 256 + 16 * plane, self.id % 256)
    }

    /// Nothing comes through a plane any more, and nobody is told.
    fn cut(&self, plane: u32) {
        assert!(ip(&format!("ip link set {}b{plane} down", self.prefix)));
    }

    fn node(&self, i: u32, coordinator: &Coordinator, folder: &Path) -> Ours {
        let log = fs::File::create(folder.join(format!("node{i}.txt"))).expect("the test's folder can be written");
        let planes = 0..self.n_planes;
        let nics = planes.clone().flat_map(|plane| ["--address".to_owned(), self.address(plane, i)]);
        let agent = Command::new("ip")
            .args(["netns", "exec", &format!("{}n{i}", self.prefix)])
            .arg(program("ds-worker"))
            .args(["node", "--join", &coordinator.url(), "--name", &format!("n{i}"), "--cores", "2"])
            .args(nics)
            .args(planes.skip(1).flat_map(|plane| ["--nic".to_owned(), format!("eth{plane}={plane}")]))
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
        for plane in 0..self.n_planes {
            ip(&format!("ip link del {}b{plane}", self.prefix));
        }
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
    let Some(network) = Network::new(1) else {
        not_run("network namespaces need root and iproute2");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    let _coordinator = standalone::coordinator(&home, &format!("{}:0", network.address(0, 254)));
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

#[test]
fn a_plane_that_is_cut_takes_no_bit_and_no_attempt_with_it() {
    let Some(network) = Network::new(2) else {
        not_run("network namespaces need root and iproute2");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let job = Job::tiny(folder.path()).grid(2, 2, 2).with("train.0.steps", 120).with("cluster.planes", "striped");
    let whole = folder.path().join("whole");
    ended_well(Launched::start(&job, &whole), &whole);

    let home = folder.path().join("home");
    let _coordinator = standalone::coordinator(&home, &format!("{}:0", network.address(0, 254)));
    let coordinator = Coordinator::of(&home).expect("it runs");
    let _nodes = [1, 2].map(|i| network.node(i, &coordinator, folder.path()));
    wait_until("both nodes", || view(&home, &["nodes"]).as_array().is_some_and(|nodes| nodes.len() == 2));
    let cut = submit(&home, &job.with("cluster.share_devices", false), &coordinator.url());
    wait_until("a few steps", || view(&home, &["status", &cut])["step"].as_u64().is_some_and(|step| step > 5));
    network.cut(1);
    wait_until("the job ends", || ["done", "failed"].contains(&state(&home, &cut).as_str()));
    wait_until("its summary", || run_folder(&home).is_some_and(|folder| folder.join("summary.json").is_file()));

    let summary = summary(&home);
    assert_eq!((&summary["state"], &summary["restarts"]), (&"done".into(), &0.into()), "{summary}");
    // Both carried something; the NICs of two ranks are on the one that is lost.
    let planes = summary["planes"].as_array().expect("planes");
    let lost: Vec<u64> = planes.iter().map(|plane| plane["n_lost"].as_u64().expect("a number")).collect();
    assert_eq!(lost, [0, 2], "{summary}");
    assert!(planes.iter().all(|plane| plane["bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 16)), "{summary}");
    assert!(newest_tensors(&home) == newest_tensors(&whole), "weights differ from those of the uncut run");
}
