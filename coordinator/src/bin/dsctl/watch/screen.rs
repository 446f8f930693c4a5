//! Where a run is shown while it goes: a progress bar on a terminal, plain lines in a pipe. All of it is talk.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::history::History;
use super::line::live;
use crate::clock::now;
use crate::output::{Paint, talk};
use crate::show::numbers::bytes;

/// Between two plain lines: a log that one can read.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where a run is shown while it goes.
pub(crate) enum Screen {
    /// Redrawn in place.
    Bar(ProgressBar),
    /// One line after another.
    Lines {
        /// The newest line about a step.
        shown: Option<(Instant, u64)>,
    },
}

impl Screen {
    /// A bar where stderr is a terminal.
    pub(crate) fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines { shown: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:20} {pos}/{len} {wide_msg}");
        bar.set_style(style.expect("the template is ours").progress_chars("=> "));
        Self::Bar(bar)
    }

    /// A step was taken.
    pub(crate) fn step(&mut self, history: &History, n_steps: u64) {
        let Some(step) = history.newest().map(|step| step.step) else { return };
        match self {
            Self::Bar(bar) => {
                bar.set_length(n_steps);
                bar.set_position(step);
                bar.set_message(live(history, n_steps));
            }
            Self::Lines { shown } => {
                let due = shown.is_none_or(|(at, _)| now().duration_since(at) >= LINE_EVERY);
                if due || step == n_steps {
                    talk(format_args!("step {step}/{n_steps} | {}", live(history, n_steps)));
                    *shown = Some((now(), step));
                }
            }
        }
    }

    /// The held-out text was looked at.
    pub(crate) fn evaluation(&mut self, step: u64, nats_per_byte: f64) {
        self.note(&format!("step {step}: validation loss {nats_per_byte:.4} nats per byte"));
    }

    /// How far something else than a job is, in bytes.
    pub(crate) fn bytes(&mut self, what: &str, done: u64, total: u64) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(format!("bytes, {what}"));
            }
            Self::Lines { shown } => {
                let due = shown.is_none_or(|(at, _)| now().duration_since(at) >= LINE_EVERY);
                if due || done == total {
                    talk(format_args!("{what}: {} of {}", bytes(done), bytes(total)));
                    *shown = Some((now(), done));
                }
            }
        }
    }

    /// A sentence about what happens.
    pub(crate) fn note(&self, sentence: &str) {
        let paint = Paint::of_stderr();
        match self {
            Self::Bar(bar) => bar.suspend(|| talk(paint.cyan(sentence))),
            Self::Lines { .. } => talk(sentence),
        }
    }

    /// Leaves the last state of a bar as a plain line.
    pub(crate) fn close(self) {
        if let Self::Bar(bar) = self {
            bar.abandon();
        }
    }

    /// Removes a bar.
    pub(crate) fn clear(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
