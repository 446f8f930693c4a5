//! A run as a page: where the time goes, when each pipeline coordinate does what, and what planes carry.

use std::collections::BTreeMap;

use ds_plan::schedule::{Action, Pass, Piece};

use super::run::{Run, Span, Stream};
use super::summary::Summary;
use crate::page::{Block, Fact, Page, Section, Table, Tone, Verdict};
use crate::picture::{Bars, Chart, Row, ScheduleRow, Segment, Series, Unit, bars, chart, schedule};
use crate::trace::Counter;

/// Points of a line.
const POINTS: usize = 240;

impl Run {
    /// The run as a page. `asked` says what was asked beside the job, `planes` which links to draw together; they are
    /// drawn where messages were recorded.
    pub fn page(&self, job: &str, fabric: &str, asked: &[String], summary: &Summary, planes: &[Counter]) -> Page {
        let n_steps = summary.step_seconds.len().max(1);
        let step = self.seconds() / n_steps as f64;
        let fact = |name: &str, value: String, note: String| Fact { name: name.to_owned(), value, note };
        let mut sections = vec![
            Section { title: "Where the time goes".to_owned(), parts: vec![phases_picture(summary), phases(summary)] },
            Section { title: "When".to_owned(), parts: vec![self.when()] },
            Section { title: "Busiest links".to_owned(), parts: vec![links(summary)] },
        ];
        if let Some(block) = self.planes(planes) {
            sections[2].parts.insert(0, block);
        }
        if !asked.is_empty() {
            sections.push(Section { title: "Asked".to_owned(), parts: vec![Block::List(asked.to_vec())] });
        }
        Page {
            title: format!("{job} on {fabric}"),
            subtitle: format!("{} ranks, played event by event on the fabric", summary.ranks),
            verdict: Verdict { tone: Tone::Plain, text: summary.verdict() },
            facts: vec![
                fact("step", Unit::Seconds.text(step), format!("mean of {n_steps}")),
                fact("ranks", summary.ranks.to_string(), format!("{} played for all", summary.ranks_played)),
                fact("paths of messages", summary.strands_played.to_string(), "played for all".to_owned()),
            ],
            sections,
        }
    }

    /// What the first rank of each coordinate does.
    fn when(&self) -> Block {
        let coordinates = self.n_ranks() / self.per_pipeline.max(1);
        let row = |at: u32| ScheduleRow { name: at.to_string(), segments: self.segments(at * self.per_pipeline) };
        let rows: Vec<ScheduleRow> = (0..coordinates).map(row).collect();
        Block::Picture(schedule("Actions of the first rank of each pipeline coordinate", &rows, Unit::Seconds))
    }

    fn segments(&self, rank: u32) -> Vec<Segment> {
        let mut of_action: BTreeMap<(u32, u32), Vec<Span>> = BTreeMap::new();
        for span in self.spans(rank).filter(|span| span.stream != Stream::Send) {
            if let Some(action) = span.action {
                of_action.entry((span.step, action)).or_default().push(span);
            }
        }
        let segment = |spans: Vec<Span>| {
            let start = spans.iter().map(|span| span.start).fold(f64::INFINITY, f64::min);
            let end = spans.iter().map(|span| span.end).fold(0.0, f64::max);
            let piece = |forward: bool| -> Option<Piece> {
                spans.iter().filter_map(|span| span.piece).find(|piece| (piece.pass == Pass::Forward) == forward)
            };
            let action = match (piece(true), piece(false)) {
                (Some(forward), Some(backward)) => Action::Overlapped { forward, backward },
                (Some(piece), None) | (None, Some(piece)) => Action::One(piece),
                (None, None) => return None,
            };
            Some(Segment { start, end, action })
        };
        of_action.into_values().filter_map(segment).collect()
    }

    fn planes(&self, planes: &[Counter]) -> Option<Block> {
        let width = self.seconds() / POINTS as f64;
        let series = |plane: &Counter| {
            let rates = self.throughput(&plane.links, POINTS);
            let points = rates.into_iter().enumerate();
            let points = points.map(|(at, rate)| (at as f64 * width, rate, plane.name.clone())).collect();
            Series { name: plane.name.clone(), is_line: true, points }
        };
        let series: Vec<Series> = planes.iter().map(series).collect();
        let is_any = series.iter().flat_map(|series| &series.points).any(|&(_, rate, _)| rate > 0.0);
        is_any.then(|| {
            Block::Picture(chart(&Chart {
                title: "What NICs send into each plane".to_owned(),
                x: ("time".to_owned(), Unit::Seconds),
                y: ("together".to_owned(), Unit::BytesPerSecond),
                series,
                limit: None,
            }))
        })
    }
}

fn phases_picture(summary: &Summary) -> Block {
    let parts = summary.phases.iter().map(|phase| phase.name.to_owned()).collect();
    let rows = [
        ("a step", summary.phases.iter().map(|phase| phase.seconds).collect()),
        ("at least", summary.phases.iter().map(|phase| phase.bound_seconds).collect()),
    ];
    let rows = rows.into_iter().map(|(name, values)| Row { name: name.to_owned(), values }).collect();
    let title = "Phases, in the mean over ranks, and how short each could be".to_owned();
    Block::Picture(bars(&Bars { title, rows_are: String::new(), parts, rows, limit: None, unit: Unit::Seconds }))
}

fn phases(summary: &Summary) -> Block {
    let time = |seconds: f64| Unit::Seconds.text(seconds);
    let rows = summary.phases.iter().map(|phase| {
        vec![
            phase.name.to_owned(),
            time(phase.seconds),
            time(phase.compute_seconds),
            time(phase.exchange_seconds),
            time(phase.waiting_seconds),
            time(phase.bound_seconds),
            phase.bottleneck.clone(),
        ]
    });
    let head = ["phase", "seconds", "computes", "exchange alone", "waits for others", "at least", "bound by"];
    Block::Table(Table::new(&head, rows.collect()))
}

fn links(summary: &Summary) -> Block {
    let rows = summary.links.iter().map(|link| {
        let share = Unit::Share.text(link.utilization);
        vec![link.name.clone(), link.count.to_string(), Unit::Bytes.text(link.bytes), share]
    });
    Block::Table(Table::new(&["link", "alike", "bytes each", "of capacity"], rows.collect()))
}
