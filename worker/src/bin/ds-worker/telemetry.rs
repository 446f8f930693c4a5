//! What this program says while it works: lines on stderr, each with its level and who speaks. No clock: whoever
//! collects the lines knows when they came.

use std::fmt;
use std::process::ExitCode;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Exit code for what the user must change.
const USAGE: u8 = 64;

/// From now on events go to stderr. `RUST_LOG` chooses among them; `info` without it.
pub(crate) fn init(speaker: String) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .event_format(Line { speaker })
        .init();
}

/// Says what is wrong with the command line, or the help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Nobody can be told that stderr is closed.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

/// `INFO rank 3 attempt 1: message`.
struct Line {
    speaker: String,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "{} {}: ", event.metadata().level(), self.speaker)?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
