//! What ranks did in a step, span by span, in the trace format of Chrome, which Perfetto (ui.perfetto.dev) opens.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::json;

/// The row of a rank that a span is drawn in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lane {
    /// Pieces of the schedule, sums of gradients, the optimizer.
    Work,
    /// Waiting for peers; what is not hidden.
    Wait,
    /// Rows on their way to experts and back.
    Exchange,
}

impl Lane {
    const ALL: [Self; 3] = [Self::Work, Self::Wait, Self::Exchange];

    fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Wait => "wait",
            Self::Exchange => "exchange",
        }
    }
}

/// Something that a rank did, in seconds since its step began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Where it is drawn.
    pub lane: Lane,
    /// Of a piece: `F`, `B` (both gradients), `I` (those of inputs) or `W` (those of weights), and the microbatch.
    pub name: String,
    /// Of a piece.
    pub stage: Option<u32>,
    /// Begin.
    pub start: f64,
    /// End.
    pub end: f64,
}

/// Writes the spans of all ranks: a rank is a process, a lane a thread. Every rank's clock starts with its own step, which
/// begins when the one before has been summed up over all ranks.
///
/// # Errors
/// When `to` cannot be written to.
pub fn chrome(ranks: &[Vec<Span>], to: &mut dyn Write) -> io::Result<()> {
    let mut events = Vec::new();
    for (rank, spans) in ranks.iter().enumerate() {
        let name = |what: &str, tid: usize, name: String| json!({"ph": "M", "pid": rank, "tid": tid, "name": what, "args": {"name": name}});
        events.push(name("process_name", 0, format!("rank {rank}")));
        for lane in Lane::ALL {
            events.push(name("thread_name", lane as usize + 1, lane.name().to_owned()));
        }
        events.extend(spans.iter().map(|span| {
            json!({
                "ph": "X",
                "pid": rank,
                "tid": span.lane as usize + 1,
                "name": span.name,
                "cat": span.lane.name(),
                "ts": span.start * 1e6,
                "dur": (span.end - span.start) * 1e6,
                "args": {"stage": span.stage},
            })
        }));
    }
    serde_json::to_writer(&mut *to, &json!({"displayTimeUnit": "ms", "traceEvents": events}))?;
    writeln!(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_processes_and_lanes_are_threads() {
        let span = Span { lane: Lane::Exchange, name: "rows".to_owned(), stage: None, start: 0.001, end: 0.003 };
        let mut text = Vec::new();
        chrome(&[vec![], vec![span]], &mut text).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let events = read["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), 2 * 4 + 1, "a rank and its lanes are named");
        let last = &events[8];
        assert_eq!((&last["pid"], &last["tid"], &last["name"]), (&json!(1), &json!(3), &json!("rows")));
        assert_eq!((&last["ts"], &last["dur"]), (&json!(1000.0), &json!(2000.0)));
    }
}
