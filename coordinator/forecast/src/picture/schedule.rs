//! A step of a pipeline as a picture: one row a pipeline coordinate, time to the right. The hue says which pass, the
//! shade which microbatch; what is idle shows the grey of the row.

use std::collections::BTreeMap;

use ds_plan::schedule::{Action, Pass, Piece, Timeline};

use super::legend::{self, Entry};
use super::style::{N_SHADES, text_width};
use super::svg::{Canvas, Frame, Picture};
use super::unit::Unit;

/// A pipeline coordinate in time.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleRow {
    /// On the left.
    pub name: String,
    /// In order of time; they do not overlap.
    pub segments: Vec<Segment>,
}

/// An action in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// From, in units of the axis.
    pub start: f64,
    /// Until, in units of the axis.
    pub end: f64,
    /// What is done.
    pub action: Action,
}

/// A timeline's rows, when one of its units takes so long.
pub fn schedule_rows(timeline: &Timeline, unit: f64) -> Vec<ScheduleRow> {
    let row = |(pipeline, spans): (usize, &Vec<ds_plan::schedule::Span>)| ScheduleRow {
        name: pipeline.to_string(),
        segments: spans
            .iter()
            .map(|span| Segment { start: span.start as f64 * unit, end: span.end as f64 * unit, action: span.action })
            .collect(),
    };
    timeline.rows.iter().enumerate().map(row).collect()
}

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 62.0;
const ROW: f64 = 22.0;
const GAP: f64 = 3.0;
/// Width of an action at which its microbatch can be read.
const READABLE: f64 = 18.0;

/// Draws a whole step and, where its boxes are too narrow for their numbers, its beginning and its end once more, larger.
pub fn schedule(title: &str, rows: &[ScheduleRow], unit: Unit) -> Picture {
    let end = rows.iter().flat_map(|row| &row.segments).map(|segment| segment.end).fold(0.0, f64::max);
    let whole = schedule_window(title, rows, (0.0, end), unit);
    let n = rows.iter().map(|row| row.segments.len()).max().unwrap_or(0);
    let window = end * (WIDTH - LEFT - RIGHT) / READABLE / n.max(1) as f64;
    if 2.0 * window >= end {
        return whole;
    }
    let first = schedule_window("The beginning", rows, (0.0, window), unit);
    let last = schedule_window("The end", rows, (end - window, end), unit);
    Picture::stacked(&[whole, first, last], title)
}

/// Draws rows between two times.
pub fn schedule_window(title: &str, rows: &[ScheduleRow], window: (f64, f64), unit: Unit) -> Picture {
    let (from, until) = (window.0, if window.1 > window.0 { window.1 } else { window.0 + 1.0 });
    let is_seen = |s: &&Segment| s.end > from && s.start < until && s.end > s.start;
    let look = Look::of(rows.iter().flat_map(|row| &row.segments).filter(is_seen));
    let names = look.legend();
    let lines = legend::lines(names.iter().map(|entry| entry.name), WIDTH - LEFT - RIGHT);
    let top = 34.0 + legend::height(lines) + 14.0;
    let frame = Frame { x: LEFT, y: top, width: WIDTH - LEFT - RIGHT, height: rows.len() as f64 * (ROW + GAP) };
    let scale = Scale { from, until, frame, unit };

    let mut canvas = Canvas::new(WIDTH, frame.bottom() + 46.0);
    canvas.text((LEFT, 20.0), "head", title);
    legend::paint(&mut canvas, (LEFT, 34.0), frame.width, &names);
    canvas.text((frame.right() + 8.0, top - 6.0), "soft small", "idle");
    let mut narrow = Narrow::new();
    for (i, row) in rows.iter().enumerate() {
        let y = top + i as f64 * (ROW + GAP);
        let idle = Unit::Share.text(scale.idle(row));
        canvas.text((LEFT - 8.0, y + 15.0), "soft end", &row.name);
        canvas.text((frame.right() + 8.0, y + 15.0), "soft small", &idle);
        let tip = format!("pipeline {}: idle {idle}", row.name);
        canvas.rect(Frame { x: LEFT, y, width: frame.width, height: ROW }, "idle", Some(&tip));
        for segment in row.segments.iter().filter(is_seen) {
            paint(&mut canvas, &mut narrow, &look, segment, y, scale);
        }
    }
    narrow.iter().for_each(|(class, boxes)| canvas.boxes(boxes, &format!("{class} see-through")));
    axis(&mut canvas, scale);
    let mean = rows.iter().map(|row| scale.idle(row)).sum::<f64>() / rows.len().max(1) as f64;
    let (n, from, until, mean) = (rows.len(), unit.text(from), unit.text(until), Unit::Share.text(mean));
    canvas.finish(
        title,
        &format!("{n} pipeline coordinates from {from} to {until}, idle {mean} of the time in the mean."),
    )
}

#[derive(Clone, Copy)]
struct Scale {
    from: f64,
    until: f64,
    frame: Frame,
    unit: Unit,
}

impl Scale {
    fn x(self, time: f64) -> f64 {
        let share = (time.clamp(self.from, self.until) - self.from) / (self.until - self.from);
        self.frame.x + share * self.frame.width
    }

    /// The share of the window in which a row does nothing.
    fn idle(self, row: &ScheduleRow) -> f64 {
        let within = |segment: &Segment| (segment.end.min(self.until) - segment.start.max(self.from)).max(0.0);
        let busy: f64 = row.segments.iter().map(within).sum();
        (1.0 - busy / (self.until - self.from)).max(0.0)
    }
}

fn axis(canvas: &mut Canvas, scale: Scale) {
    let frame = scale.frame;
    for (time, text) in scale.unit.ticks_between(scale.from, scale.until, 10) {
        let x = scale.x(time);
        canvas.line((x, frame.bottom()), (x, frame.bottom() + 5.0), "edge");
        canvas.text((x, frame.bottom() + 18.0), "soft small mid", &text);
    }
    canvas.line((frame.x, frame.bottom()), (frame.right(), frame.bottom()), "edge");
    canvas.text((frame.x - 8.0, frame.y - 6.0), "soft small end", "pipeline");
    canvas.text((frame.right(), frame.bottom() + 36.0), "soft small end", "time");
}

/// What all rows together decide: which microbatches the shades are spread over, which passes there are.
struct Look {
    first: u32,
    n_microbatches: u32,
    passes: Vec<Pass>,
    overlaps: bool,
}

impl Look {
    fn of<'a>(segments: impl Iterator<Item = &'a Segment>) -> Self {
        let segments: Vec<&Segment> = segments.collect();
        let pieces: Vec<Piece> = segments.iter().flat_map(|segment| segment.action.pieces()).collect();
        let first = pieces.iter().map(|piece| piece.microbatch.0).min().unwrap_or(0);
        let last = pieces.iter().map(|piece| piece.microbatch.0).max().unwrap_or(0);
        let all = [Pass::Forward, Pass::Backward, Pass::BackwardInput, Pass::BackwardWeight];
        Self {
            first,
            n_microbatches: last - first + 1,
            passes: all.into_iter().filter(|&pass| pieces.iter().any(|piece| piece.pass == pass)).collect(),
            overlaps: segments.iter().any(|segment| matches!(segment.action, Action::Overlapped { .. })),
        }
    }

    fn legend(&self) -> Vec<Entry<'static>> {
        let entry = |&pass: &Pass| Entry { classes: vec![format!("{}2", hue(pass))], name: name(pass) };
        let mut entries: Vec<Entry<'static>> = self.passes.iter().map(entry).collect();
        if self.overlaps {
            entries.push(Entry { classes: vec!["f2".to_owned(), "b2".to_owned()], name: "forward beside backward" });
        }
        entries.push(Entry { classes: vec!["idle".to_owned()], name: "idle" });
        if self.n_microbatches > 1 {
            let classes = (0..N_SHADES).map(|shade| format!("f{shade}")).collect();
            entries.push(Entry { classes, name: "first to last microbatch" });
        }
        entries
    }

    fn shade(&self, piece: Piece) -> usize {
        (piece.microbatch.0 - self.first) as usize * N_SHADES / self.n_microbatches as usize
    }

    fn class(&self, piece: Piece) -> String {
        format!("{}{}", hue(piece.pass), self.shade(piece))
    }
}

/// The boxes that are too narrow to be pointed at, by class.
type Narrow = BTreeMap<String, Vec<Frame>>;

fn paint(canvas: &mut Canvas, narrow: &mut Narrow, look: &Look, segment: &Segment, y: f64, scale: Scale) {
    let (left, right) = (scale.x(segment.start), scale.x(segment.end));
    // A hair between neighbours, where there is room for it.
    let width = if right - left > 3.0 { right - left - 0.6 } else { right - left };
    let n_pieces = segment.action.pieces().count();
    let height = ROW / n_pieces as f64;
    for (i, piece) in segment.action.pieces().enumerate() {
        let at = Frame { x: left, y: y + height * i as f64, width, height };
        let label = piece.microbatch.0.to_string();
        let class = look.class(piece);
        if text_width(&label, 10.0) + 2.0 > width {
            narrow.entry(class).or_default().push(at);
            continue;
        }
        let (start, end) = (scale.unit.text(segment.start), scale.unit.text(segment.end));
        let (pass, microbatch, stage) = (name(piece.pass), piece.microbatch.0, piece.stage.0);
        let beside = if n_pieces > 1 { ", beside the other" } else { "" };
        let tip = format!("{pass} of microbatch {microbatch} in stage {stage}, {start} to {end}{beside}");
        canvas.rect(at, &class, Some(&tip));
        let ink = if look.shade(piece) >= 3 { "on mid d" } else { "on mid l" };
        canvas.text((left + width / 2.0, at.y + height / 2.0 + 3.5), ink, &label);
    }
}

fn hue(pass: Pass) -> char {
    match pass {
        Pass::Forward => 'f',
        Pass::Backward => 'b',
        Pass::BackwardInput => 'i',
        Pass::BackwardWeight => 'w',
    }
}

fn name(pass: Pass) -> &'static str {
    match pass {
        Pass::Forward => "forward",
        Pass::Backward => "backward",
        Pass::BackwardInput => "input gradients",
        Pass::BackwardWeight => "weight gradients",
    }
}
