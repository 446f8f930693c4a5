//! The bridge to Hugging Face's folders, crossed: shown while it goes, measured, and stopped by Ctrl-C.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ds_checkpoint::bridge::{BridgeError, Limits, Progress, Report};
use serde_json::{Value, json};
use tokio::time::interval;

use crate::clock::now;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::memory::PeakMemory;
use crate::output::talk;
use crate::place::run;
use crate::show::numbers::{bytes, seconds};
use crate::size::Size;
use crate::watch::screen::Screen;

/// Between two looks at memory and progress: a buffer lives longer.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What both ways are told.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct CrossingArgs {
    /// Memory to take at most, anonymous and mapped together
    #[arg(long, value_name = "SIZE", default_value = "2G")]
    max_ram: Size,
}

impl CrossingArgs {
    pub(crate) fn limits(&self) -> Limits {
        Limits { max_ram: self.max_ram.0 }
    }
}

/// A bridge that was crossed.
pub(crate) struct Crossed {
    /// What is there now.
    pub(crate) folder: PathBuf,
    report: Report,
    took: Duration,
    memory: PeakMemory,
    limits: Limits,
}

/// Does `work` on a thread of its own. The first Ctrl-C stops it at the next block and leaves what is finished to the
/// next run; the second ends the program, which leaves the same.
pub(crate) fn cross<W>(what: &'static str, limits: Limits, work: W) -> Result<Crossed, Failure>
where
    W: FnOnce(&mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<(PathBuf, Report), BridgeError> + Send + 'static,
{
    run(async {
        let mut interrupts = Interrupts::new()?;
        let (start, pace, mut memory) = (now(), Arc::new(Pace::default()), PeakMemory::default());
        let seen = pace.clone();
        let mut work = tokio::task::spawn_blocking(move || work(&mut |progress| seen.see(progress)));
        let (mut looks, mut screen) = (interval(LOOK_EVERY), Screen::new());
        let outcome = loop {
            tokio::select! {
                done = &mut work => break done,
                _ = looks.tick() => {
                    memory.look();
                    pace.show(what, start, &mut screen);
                }
                () = interrupts.next() => {
                    if pace.stop() {
                        screen.clear();
                        return Err(Failure::LeftAtOnce);
                    }
                    talk("stopping at the next block; again ends at once, which leaves as much to go on with");
                }
            }
        };
        screen.clear();
        memory.look();
        // What panics in there is a mistake of ours.
        let (folder, report) = outcome.map_err(|error| Failure::Internal { reason: error.to_string() })??;
        Ok(Crossed { folder, report, took: start.elapsed(), memory, limits })
    })
}

/// How far it is, between the thread that works and the one that shows.
#[derive(Default)]
struct Pace {
    done: AtomicU64,
    total: AtomicU64,
    shown: AtomicU64,
    is_stopped: AtomicBool,
}

impl Pace {
    fn see(&self, progress: Progress) -> ControlFlow<()> {
        self.total.store(progress.total_bytes, Ordering::Relaxed);
        self.done.store(progress.done_bytes, Ordering::Relaxed);
        if self.is_stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether it was stopped before.
    fn stop(&self) -> bool {
        self.is_stopped.swap(true, Ordering::Relaxed)
    }

    fn show(&self, what: &str, start: Instant, screen: &mut Screen) {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        if self.shown.swap(done, Ordering::Relaxed) == done {
            return;
        }
        let rate = done as f64 / start.elapsed().as_secs_f64();
        let left = seconds(total.saturating_sub(done) as f64 / rate);
        screen.bytes(&format!("{what}, {}/s, {left} left", bytes(rate as u64)), done, total);
    }
}

impl Crossed {
    fn rate(&self) -> f64 {
        self.report.bytes as f64 / self.took.as_secs_f64()
    }

    /// All of it in a line.
    pub(crate) fn line(&self, done: &str) -> String {
        let Report { n_files, n_resumed, n_tensors, bytes: size } = self.report;
        let resumed = match n_resumed {
            0 => String::new(),
            n => format!(", {n} of them finished by an earlier run"),
        };
        format!(
            "{done} {}: {n_tensors} tensors in {n_files} files{resumed}, {} in {} ({}/s), peak memory {} of {}",
            self.folder.display(),
            bytes(size),
            seconds(self.took.as_secs_f64()),
            bytes(self.rate() as u64),
            bytes(self.memory.most()),
            bytes(self.limits.max_ram),
        )
    }

    pub(crate) fn facts(&self) -> Value {
        json!({
            "folder": self.folder.display().to_string(),
            "tensors": self.report.n_tensors,
            "files": self.report.n_files,
            "files_finished_before": self.report.n_resumed,
            "bytes": self.report.bytes,
            "seconds": self.took.as_secs_f64(),
            "bytes_per_second": self.rate(),
            "max_ram_bytes": self.limits.max_ram,
            "peak_memory": self.memory.facts(),
        })
    }
}
