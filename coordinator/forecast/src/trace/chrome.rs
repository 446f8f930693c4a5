//! The trace format of Chrome, which Perfetto (ui.perfetto.dev) opens: ranks are processes, streams are threads, and
//! what links carry are counters.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::simulate::{Run, Span, Stream};

/// Links that are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// For people.
    pub name: String,
    /// As the network counts them.
    pub links: Vec<u32>,
}

/// Points of a counter.
const POINTS: usize = 1000;

/// Writes a run. Of ranks that fared alike the first is shown, and named after all of them. Times are microseconds.
///
/// # Errors
/// When `to` cannot be written to.
pub fn chrome(run: &Run, counters: &[Counter], to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    let mut events = Events { to, any: false };
    for (rank, count) in run.played() {
        let like = if count > 1 { format!(" and {} like it", count - 1) } else { String::new() };
        events.name("process_name", rank, None, &format!("rank {rank}{like}"))?;
        for stream in [Stream::Compute, Stream::Exchange, Stream::Send] {
            events.name("thread_name", rank, Some(stream), stream_name(stream))?;
        }
        for span in run.spans(rank).filter(|span| span.end > span.start) {
            events.write(&event(rank, &span))?;
        }
    }
    let after = run.n_ranks();
    if !counters.is_empty() {
        events.name("process_name", after, None, "fabric")?;
    }
    let width = micros(run.seconds()) / POINTS as f64;
    for counter in counters {
        let mut last = f64::NAN;
        for (place, rate) in run.throughput(&counter.links, POINTS).into_iter().enumerate() {
            if rate != last {
                let (name, ts) = (&counter.name, place as f64 * width);
                events
                    .write(&json!({"ph": "C", "pid": after, "name": name, "ts": ts, "args": {"GB/s": rate / 1e9}}))?;
                last = rate;
            }
        }
    }
    writeln!(to, "\n]}}")
}

struct Events<'a> {
    to: &'a mut dyn Write,
    any: bool,
}

impl Events<'_> {
    fn write(&mut self, event: &Value) -> io::Result<()> {
        if self.any {
            writeln!(self.to, ",")?;
        }
        self.any = true;
        write!(self.to, "{event}")
    }

    fn name(&mut self, what: &str, pid: u32, stream: Option<Stream>, name: &str) -> io::Result<()> {
        let tid = stream.map_or(0, number);
        self.write(&json!({"ph": "M", "pid": pid, "tid": tid, "name": what, "args": {"name": name}}))
    }
}

fn event(rank: u32, span: &Span) -> Value {
    let piece = span.piece.map(|piece| format!(" {}{}", piece.pass.letter(), piece.microbatch.0));
    json!({
        "ph": "X",
        "pid": rank,
        "tid": number(span.stream),
        "name": format!("{}{}", span.label, piece.unwrap_or_default()),
        "cat": stream_name(span.stream),
        "ts": micros(span.start),
        "dur": micros(span.end - span.start),
        "args": {"step": span.step, "stage": span.piece.map(|piece| piece.stage.0), "waits_us": micros(span.opened - span.start)},
    })
}

fn micros(seconds: f64) -> f64 {
    seconds * 1e6
}

fn number(stream: Stream) -> u32 {
    match stream {
        Stream::Compute => 1,
        Stream::Exchange => 2,
        Stream::Send => 3,
    }
}

fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Compute => "compute",
        Stream::Exchange => "exchange",
        Stream::Send => "send",
    }
}
