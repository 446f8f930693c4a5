//! What must happen to a job before it ends, on a machine that may hold up the test and not the job.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::launch::{Launched, ranks_of, steps, wait_until};
use crate::programs::{dsctl, run};

/// The job ended before it could happen.
#[derive(Debug)]
pub struct TooLate;

/// Plays a scene with ever longer jobs, until what is to happen in it comes before the job's end.
///
/// # Panics
/// When it comes too late for the longest job.
pub fn in_time<T>(n_steps: u64, mut scene: impl FnMut(u64) -> Result<T, TooLate>) -> T {
    let lengths = [1, 4, 16, 64].map(|factor| factor * n_steps);
    lengths.into_iter().find_map(|n_steps| scene(n_steps).ok()).expect("it comes before the end of the longest job")
}

/// Waits until a step is reported, from 1, of a job that still runs then.
///
/// # Errors
/// When the job has ended.
///
/// # Panics
/// When the step does not come, or the job has not ended well.
pub fn running_at(launched: Launched, home: &Path, step: u64) -> Result<Launched, TooLate> {
    let has_ended = || has_ended(launched.pid());
    wait_until("the step", || has_ended() || steps(home).last().is_some_and(|&last| last >= step));
    if has_ended() { Err(too_late(launched, home)) } else { Ok(launched) }
}

/// Kills a rank without warning.
///
/// # Errors
/// When the job has no such process any more.
pub fn kill_rank(home: &Path, rank: u32) -> Result<(), TooLate> {
    let pid = *ranks_of(home).get(&rank).ok_or(TooLate)?;
    let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
    if killed.expect("kill starts").success() { Ok(()) } else { Err(TooLate) }
}

/// Waits for the end of a job that nothing happened to.
///
/// # Panics
/// When it has not ended well.
pub fn too_late(launched: Launched, home: &Path) -> TooLate {
    ended_well(launched, home);
    TooLate
}

/// Waits for the end of a job, however long it is, as long as it takes steps; what it said.
///
/// # Panics
/// When it has not ended well.
pub fn ended_well(launched: Launched, home: &Path) -> String {
    wait_through_steps("the end", home, || has_ended(launched.pid()));
    let (status, talk) = launched.wait();
    assert!(status.success(), "{talk}");
    talk
}

/// Waits for `done`, however long it takes, as long as the newest job of a home takes steps.
///
/// # Panics
/// When neither comes.
pub fn wait_through_steps(what: &str, home: &Path, done: impl Fn() -> bool) {
    let newest = || (steps(home).len(), steps(home).last().copied());
    let mut seen = newest();
    while !done() {
        wait_until(what, || done() || newest() != seen);
        seen = newest();
    }
}

/// Whether the newest job of a home has taken its last step.
///
/// # Panics
/// When dsctl does not know it.
pub fn is_done(home: &Path) -> bool {
    let (code, stdout, stderr) = run(dsctl(home).args(["status", "last", "--format", "json"]));
    assert_eq!(code, Some(0), "{stderr}");
    let job: Value = serde_json::from_str(&stdout).expect("JSON");
    job["state"] == "done"
}

/// Whether a child that was not waited for is no more than its remains.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a child that was not waited for");
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}
