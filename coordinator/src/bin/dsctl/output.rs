//! stdout is data, stderr is talk. The only place that writes to either, except for the live line.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// How facts are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// `--format`, on every command that prints facts.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct FormatArgs {
    /// How facts are printed on stdout
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) format: Format,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was told.
    Done,
    /// It, or the job, failed.
    Failed,
    /// The user must change something.
    User,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::User => Self::from(64),
        }
    }
}

/// One fact, with its line break.
pub(crate) fn data(text: impl Display) -> Result<(), Failure> {
    let text = text.to_string();
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.trim_end_matches('\n').as_bytes())?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}

/// One fact for programs.
pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    data(format_args!("{value:#}"))
}

/// One sentence about what happens.
pub(crate) fn talk(text: impl Display) {
    // Who closes stderr wants no talk.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What the coordinator of this process says of itself, on stderr: as RUST_LOG says, or else from `level` on.
pub(crate) fn log(level: Option<&str>) {
    let asked = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let Some(filter) = asked.or(level.map(str::to_owned)) else { return };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && wanted())
        .with_target(false);
    // A second call in one process changes nothing.
    let _ = subscriber.try_init();
}

/// What clap has to say: help and version are facts, all else is a mistake of the user.
pub(crate) fn usage(usage: &clap::Error) -> ExitCode {
    // Who closes the stream wants no help.
    let _ = usage.print();
    if usage.use_stderr() { Exit::User.into() } else { Exit::Done.into() }
}

/// What a command came to, as the process's end.
pub(crate) fn finish(result: Result<Exit, Failure>) -> ExitCode {
    let exit = result.unwrap_or_else(|failure| {
        report(&failure);
        failure.exit()
    });
    exit.into()
}

fn report(failure: &Failure) {
    if matches!(failure, Failure::ReaderLeft) {
        return;
    }
    let paint = Paint::of_stderr();
    talk(format_args!("{} {failure}", paint.red("error:")));
    if let Some(hint) = failure.hint() {
        talk(format_args!("{} {hint}", paint.cyan("hint:")));
    }
}

/// Colours, only where somebody sees them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    /// For talk. `NO_COLOR` (no-color.org) is respected.
    pub(crate) fn of_stderr() -> Self {
        Self(io::stderr().is_terminal() && wanted())
    }

    /// For facts.
    pub(crate) fn of_stdout() -> Self {
        Self(io::stdout().is_terminal() && wanted())
    }

    /// Plain text.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(false)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.dress("1;31", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.dress("1;33", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.dress("1;32", text)
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.dress("36", text)
    }

    fn dress(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn wanted() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}
