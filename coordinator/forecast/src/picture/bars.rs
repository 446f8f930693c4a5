//! Stacked bars: what each of several things is made of, and how far that is from a limit. Memory per pipeline
//! coordinate, step times of layouts, the parts of one step.

use super::legend::{self, Entry};
use super::style::{colour, text_width};
use super::svg::{Canvas, Frame, Picture};
use super::unit::Unit;

/// Bars under each other, on one scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// Above.
    pub title: String,
    /// What the rows are, for example `pipeline`.
    pub rows_are: String,
    /// Names of the parts, in the order of all rows.
    pub parts: Vec<String>,
    /// From top to bottom.
    pub rows: Vec<Row>,
    /// A line that no bar should cross, and what it is.
    pub limit: Option<(f64, String)>,
    /// Of all values.
    pub unit: Unit,
}

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// To its left.
    pub name: String,
    /// As many as there are parts.
    pub values: Vec<f64>,
}

impl Row {
    fn total(&self) -> f64 {
        self.values.iter().sum()
    }
}

const WIDTH: f64 = 1120.0;
const RIGHT: f64 = 82.0;
const GAP: f64 = 4.0;

/// Draws bars.
pub fn bars(bars: &Bars) -> Picture {
    let longest =
        bars.rows.iter().map(|row| text_width(&row.name, 12.0)).fold(text_width(&bars.rows_are, 11.0), f64::max);
    let left = (longest + 18.0).clamp(40.0, 360.0);
    let entries = entries(bars);
    let room = WIDTH - left - RIGHT;
    let lines = legend::lines(entries.iter().map(|entry| entry.name), room);
    let top = 34.0 + legend::height(lines) + if bars.limit.is_some() { 24.0 } else { 12.0 };
    let height = if bars.rows.len() == 1 { 34.0 } else { 20.0 };
    let frame = Frame { x: left, y: top, width: room, height: bars.rows.len() as f64 * (height + GAP) };
    let largest = bars.rows.iter().map(Row::total).fold(0.0, f64::max);
    // A limit far away would press the bars flat; then it is only named.
    let limit = bars.limit.as_ref().filter(|(limit, _)| *limit <= 4.0 * largest || largest == 0.0);
    let end = limit.map_or(largest, |(limit, _)| largest.max(*limit)) * 1.02;
    let end = if end > 0.0 { end } else { 1.0 };
    let x = |value: f64| left + value / end * room;

    let mut canvas = Canvas::new(WIDTH, frame.bottom() + 30.0);
    canvas.text((left, 20.0), "head", &bars.title);
    legend::paint(&mut canvas, (left, 34.0), room, &entries);
    canvas.text((left - 10.0, top - 6.0), "soft small end", &bars.rows_are);
    legend::x_axis(&mut canvas, frame, &bars.unit.ticks(end, 8), x);
    for (i, row) in bars.rows.iter().enumerate() {
        let at = Frame { x: left, y: top + i as f64 * (height + GAP), width: room, height };
        paint_row(&mut canvas, bars, row, at, &x);
    }
    match (limit, &bars.limit) {
        (Some((value, name)), _) => {
            canvas.line((x(*value), top - 4.0), (x(*value), frame.bottom()), "limit");
            let text = format!("{name} {}", bars.unit.text(*value));
            let fits = x(*value) + text_width(&text, 11.0) / 2.0 < WIDTH;
            let (at, class) = if fits { (x(*value), "small mid") } else { (WIDTH - 8.0, "small end") };
            canvas.text((at, top - 9.0), class, &text);
        }
        (None, Some((value, name))) => {
            canvas.text((frame.right(), top - 9.0), "small end", &format!("{name} {}", bars.unit.text(*value)));
        }
        (None, None) => {}
    }
    canvas.finish(&bars.title, &about(bars))
}

fn entries(bars: &Bars) -> Vec<Entry<'_>> {
    let is_seen = |part: usize| bars.rows.iter().any(|row| row.values.get(part).is_some_and(|&value| value > 0.0));
    let seen = bars.parts.iter().enumerate().filter(|(part, _)| is_seen(*part));
    seen.map(|(part, name)| Entry { classes: vec![colour(part)], name }).collect()
}

fn paint_row(canvas: &mut Canvas, bars: &Bars, row: &Row, at: Frame, x: &impl Fn(f64) -> f64) {
    canvas.text((at.x - 10.0, at.y + at.height / 2.0 + 4.0), "end", &row.name);
    let mut sum = 0.0;
    for (part, &value) in row.values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        let (from, until) = (x(sum), x(sum + value));
        let name = bars.parts.get(part).map_or("", String::as_str);
        let share = Unit::Share.text(value / row.total());
        let tip = format!("{}: {name} {}, {share}", row.name, bars.unit.text(value));
        let box_ = Frame { x: from, y: at.y, width: (until - from - 0.6).max(0.4), height: at.height };
        canvas.rect(box_, &colour(part), Some(&tip));
        let label = bars.unit.text(value);
        if at.height > 30.0 && text_width(&label, 10.0) + 8.0 < until - from {
            canvas.text(((from + until) / 2.0, at.y + at.height / 2.0 + 4.0), "on mid l", &label);
        }
        sum += value;
    }
    let over = bars.limit.as_ref().is_some_and(|(limit, _)| sum > *limit);
    let class = if over { "small end over" } else { "small end bold" };
    canvas.text((WIDTH - 8.0, at.y + at.height / 2.0 + 4.0), class, &bars.unit.text(sum));
}

fn about(bars: &Bars) -> String {
    let totals: Vec<String> =
        bars.rows.iter().take(32).map(|row| format!("{} {}", row.name, bars.unit.text(row.total()))).collect();
    let limit = bars.limit.as_ref().map(|(value, name)| format!("; {name} is {}", bars.unit.text(*value)));
    format!("{}: {}{}.", bars.title, totals.join(", "), limit.unwrap_or_default())
}
