//! A coordinator that outlives the command that started it.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ds_coordinator::home::Running;
use tokio::time::sleep;

use crate::client::Client;
use crate::failure::Failure;
use crate::home::Home;

/// Between two looks whether it has come up.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// On a busy machine it takes a second to come up.
const LOOKS_MAX: usize = 1500;
/// Lines of its log that a failure shows.
const LAST_LINES: usize = 8;

/// Starts one in the home, and waits until it answers.
pub(crate) async fn start(home: &Home, wanted: Option<&str>) -> Result<Client, Failure> {
    let path = home.coordinator_log();
    let failed = |source| Failure::Write { path: path.clone(), source };
    let log = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
    let log_start = log.metadata().map_err(failed)?.len();
    let own = std::env::current_exe().map_err(Failure::Runtime)?;
    let mut command = Command::new(own);
    command.arg("coordinator").arg("--embedded-node").arg("--home").arg(home.path());
    if let Some(job) = wanted {
        command.args(["--wanted", job]);
    }
    let stderr = log.try_clone().map_err(failed)?;
    let mut child = command.stdin(Stdio::null()).stdout(log).stderr(stderr).spawn().map_err(Failure::Runtime)?;
    match wait_for(home, &mut child).await {
        Some(running) => Client::connect(&running.address, &running.token).await,
        None => Err(Failure::BackgroundNotStarted { last_lines: last_lines(home, log_start), log: path }),
    }
}

async fn wait_for(home: &Home, child: &mut Child) -> Option<Running> {
    for _ in 0..LOOKS_MAX {
        // The file alone is read: asking the lock would be in the way of the one who takes it.
        if let Some(running) = home.announced().filter(|running| running.pid == child.id()) {
            return Some(running);
        }
        if !matches!(child.try_wait(), Ok(None)) {
            return None;
        }
        sleep(LOOK_EVERY).await;
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn last_lines(home: &Home, log_start: u64) -> Vec<String> {
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(home.coordinator_log())?;
        file.seek(SeekFrom::Start(log_start))?;
        let mut bytes = Vec::new();
        file.take(1 << 20).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|&line| line.to_owned()).collect()
}
