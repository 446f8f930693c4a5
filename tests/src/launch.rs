//! A job that `dsctl launch` runs, with means to see how far it is and to kill what belongs to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ds_checkpoint::{Checkpoint, RecordKind, newest_whole};
use serde_json::Value;

use crate::job::Job;
use crate::programs::dsctl;

/// Longer than any step of these tests on a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running `dsctl launch`.
pub struct Launched {
    home: PathBuf,
    child: Child,
}

impl Launched {
    /// Starts the job in a home of its own.
    ///
    /// # Panics
    /// When dsctl cannot be started.
    pub fn start(job: &Job, home: &Path) -> Self {
        let (path, sets) = job.write();
        let mut command = dsctl(home);
        command.arg("launch").arg(path).args(sets).args(["--format", "json"]);
        Self { home: home.to_owned(), child: spawn(&mut command, home) }
    }

    /// Goes on with the newest job of the home.
    ///
    /// # Panics
    /// When dsctl cannot be started.
    pub fn resume(home: &Path) -> Self {
        let mut command = dsctl(home);
        command.args(["resume", "last", "--format", "json"]);
        Self { home: home.to_owned(), child: spawn(&mut command, home) }
    }

    /// Waits until a step is reported, from 1.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for_step(&mut self, step: u64) {
        wait_until("the step", || {
            let has_ended = self.child.try_wait().expect("a child").is_some();
            let has_come = steps(&self.home).last().is_some_and(|&last| last >= step);
            assert!(has_come || !has_ended, "it ended before step {step}:\n{}", self.talk());
            has_come
        });
    }

    /// The process of `dsctl` itself.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What Ctrl-C does.
    ///
    /// # Panics
    /// When it has ended.
    pub fn interrupt(&self) {
        signal("-INT", self.pid());
    }

    /// Kills `dsctl`, and with it the coordinator, without warning.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(mut self) {
        self.child.kill().expect("it still runs");
        self.child.wait().expect("it was ours");
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait(mut self) -> (ExitStatus, String) {
        wait_until("the end", || self.child.try_wait().expect("a child").is_some());
        (self.child.wait().expect("it was ours"), self.talk())
    }

    fn talk(&self) -> String {
        fs::read_to_string(self.home.join("talk.txt")).unwrap_or_default()
    }
}

impl Drop for Launched {
    /// A test that failed leaves no job behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &mut std::process::Command, home: &Path) -> Child {
    fs::create_dir_all(home).expect("the test's folder can be written");
    let talk = fs::File::create(home.join("talk.txt")).expect("the test's folder can be written");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(talk).spawn().expect("dsctl starts")
}

/// Kills a process without warning.
///
/// # Panics
/// When it cannot be killed.
pub fn kill(pid: u32) {
    signal("-KILL", pid);
}

fn signal(name: &str, pid: u32) {
    let status = std::process::Command::new("kill").args([name, &pid.to_string()]).status().expect("kill starts");
    assert!(status.success(), "process {pid} was there");
}

/// Waits for `done`, looking often.
///
/// # Panics
/// When it does not come true in two minutes.
#[expect(clippy::disallowed_methods, reason = "the tests wait for real processes")]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come in {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The folder of the newest run of a home.
pub fn run_folder(home: &Path) -> Option<PathBuf> {
    let runs = fs::read_dir(home.join("runs")).ok()?;
    runs.flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .max_by_key(|path| path.metadata().and_then(|m| m.created()).ok())
}

/// The whole checkpoints of the newest run, oldest first.
pub fn checkpoints(home: &Path) -> Vec<PathBuf> {
    let folder = run_folder(home).map(|folder| folder.join("checkpoints"));
    let entries = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.extension().is_none()).collect();
    paths.sort();
    paths
}

/// What stands in `coordinator.json` while a coordinator runs.
#[derive(Clone, Debug)]
pub struct Coordinator {
    /// `HOST:PORT`.
    pub address: String,
    /// That every call must carry.
    pub token: String,
}

impl Coordinator {
    /// That of a home, if one runs.
    pub fn of(home: &Path) -> Option<Self> {
        let file: Value = serde_json::from_str(&fs::read_to_string(home.join("coordinator.json")).ok()?).ok()?;
        let address = file["address"].as_str()?.trim_start_matches("http://").to_owned();
        Some(Self { address, token: file["token"].as_str()?.to_owned() })
    }

    /// For `--join` and `--coordinator`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Every step that was reported, in the order of reports.
pub fn steps(home: &Path) -> Vec<u64> {
    let Some(folder) = run_folder(home) else { return Vec::new() };
    let lines = fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
    let steps = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    steps.filter(|line| line.get("grad_norm").is_some()).filter_map(|line| line["step"].as_u64()).collect()
}

/// `summary.json` of the newest run.
///
/// # Panics
/// When there is none.
pub fn summary(home: &Path) -> Value {
    let path = run_folder(home).expect("a run").join("summary.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("summary.json is JSON")
}

/// Processes of ranks that belong to the coordinator of a home.
pub fn ranks_of(home: &Path) -> BTreeMap<u32, u32> {
    let Some(Coordinator { address, .. }) = Coordinator::of(home) else { return BTreeMap::new() };
    workers(&address).into_iter().filter_map(|(pid, arguments)| Some((rank_of(&arguments)?, pid))).collect()
}

/// Every `ds-worker` process that has to do with an address: (pid, arguments).
pub fn workers(address: &str) -> Vec<(u32, Vec<String>)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let arguments: Vec<String> =
                line.split(|&b| b == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
            let ours = arguments.first()?.ends_with("ds-worker") && arguments.iter().any(|a| a.contains(address));
            ours.then_some((pid, arguments))
        })
        .collect()
}

fn rank_of(arguments: &[String]) -> Option<u32> {
    let place = arguments.iter().position(|argument| argument == "--rank")?;
    arguments.get(place + 1)?.parse().ok()
}

/// Every tensor of the newest checkpoint of a home, as bytes.
///
/// # Panics
/// When there is none, or it is broken.
pub fn newest_tensors(home: &Path) -> (u64, BTreeMap<(String, RecordKind), Vec<u8>>) {
    let folder = run_folder(home).expect("a run").join("checkpoints");
    let newest = newest_whole(&folder).expect("the folder reads").path.expect("a whole checkpoint");
    let checkpoint = Checkpoint::open(&newest).expect("it opens");
    let mut tensors = BTreeMap::new();
    for record in checkpoint.records() {
        let whole: Vec<_> = record.shape.iter().map(|&d| 0..d).collect();
        let (_, bytes) = checkpoint.read(&record.name, record.kind, &whole).expect("it reads");
        tensors.insert((record.name.clone(), record.kind), bytes);
    }
    (checkpoint.state().step, tensors)
}
