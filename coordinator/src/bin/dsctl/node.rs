//! The node agent of this machine: one child process for as long as an embedded coordinator lives.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::home::Home;

/// Time for an agent to end its ranks before it is killed (they die with it).
const END_GRACE: Duration = Duration::from_secs(5);
/// Lines of its log that a failure shows.
const LAST_LINES: usize = 8;

/// The node agent of this machine.
pub(crate) struct Node {
    child: Child,
    log: PathBuf,
    /// Where this agent's words begin in the log.
    log_start: u64,
}

impl Node {
    /// Starts it. Call it on the main thread: the kernel ends the agent when the thread that started it ends.
    pub(crate) fn start(worker: &Worker, home: &Home, address: &str, token: &str) -> Result<Self, Failure> {
        let path = home.node_log();
        let failed = |source| Failure::Write { path: path.clone(), source };
        let log = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        let log_start = log.metadata().map_err(failed)?.len();
        let stderr = log.try_clone().map_err(failed)?;
        let child = Command::new(&worker.0)
            .args(["node", "--join", address, "--embedded", &std::process::id().to_string()])
            .env("DSCTL_TOKEN", token)
            .env("DSCTL_HOME", home.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(stderr)
            // The terminal's Ctrl-C is for dsctl, which decides what becomes of the job.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Failure::WorkerNotStarted { path: worker.0.clone(), source })?;
        Ok(Self { child, log: path, log_start })
    }

    /// Waits until it ends by itself, which it should not.
    pub(crate) async fn ended(&mut self) -> Failure {
        let status = self.child.wait().await.ok();
        Failure::NodeEnded { how: how(status), last_lines: self.last_lines(), log: self.log.clone() }
    }

    /// Ends it, and with it every rank that it started.
    pub(crate) async fn end(mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if timeout(END_GRACE, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    fn last_lines(&self) -> Vec<String> {
        let read = || -> std::io::Result<String> {
            let mut file = fs::File::open(&self.log)?;
            file.seek(SeekFrom::Start(self.log_start))?;
            let mut bytes = Vec::new();
            // What an agent says of its own is short; the end of more than this is what matters least.
            file.take(1 << 20).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|&line| line.to_owned()).collect()
    }
}

fn how(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "for no known reason".to_owned(), |status| format!("with {status}"))
}

/// The program that runs ranks and node agents.
#[derive(Clone, Debug)]
pub(crate) struct Worker(PathBuf);

impl Worker {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// `DSCTL_WORKER`, or `ds-worker` beside dsctl, or on the PATH.
    pub(crate) fn find() -> Result<Self, Failure> {
        let looked = match std::env::var_os("DSCTL_WORKER").filter(|value| !value.is_empty()) {
            Some(path) => vec![PathBuf::from(path)],
            None => {
                let beside = std::env::current_exe().ok().and_then(|own| own.parent().map(Path::to_owned));
                let path = std::env::var_os("PATH").unwrap_or_default();
                beside.into_iter().chain(std::env::split_paths(&path)).map(|folder| folder.join("ds-worker")).collect()
            }
        };
        match looked.iter().find(|path| is_program(path)) {
            Some(path) => {
                let failed = |source| Failure::Read { path: path.clone(), source };
                Ok(Self(std::path::absolute(path).map_err(failed)?))
            }
            None => Err(Failure::WorkerMissing { looked: looked.into_iter().next().unwrap_or_default() }),
        }
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
