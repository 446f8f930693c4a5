//! A chart of points or lines over two axes.

use super::legend::{self, Entry};
use super::style::{N_COLOURS, colour};
use super::svg::{Canvas, Frame, Picture};
use super::unit::Unit;

/// Series over two axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Above.
    pub title: String,
    /// Below, and its unit.
    pub x: (String, Unit),
    /// To the left, and its unit.
    pub y: (String, Unit),
    /// Later ones are painted over earlier ones.
    pub series: Vec<Series>,
    /// A level that matters, and what it is.
    pub limit: Option<(f64, String)>,
}

/// Points of one colour.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// Whether a line joins them.
    pub is_line: bool,
    /// Places, each with what it is; those that are not finite are left out.
    pub points: Vec<(f64, f64, String)>,
}

const WIDTH: f64 = 1120.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 86.0;
const RIGHT: f64 = 30.0;

/// Draws a chart. The vertical axis begins at zero, the horizontal one where the points begin.
pub fn chart(chart: &Chart) -> Picture {
    let points =
        || chart.series.iter().flat_map(|series| &series.points).filter(|(x, y, _)| x.is_finite() && y.is_finite());
    let (mut low, mut high) =
        points().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, ..)| (low.min(*x), high.max(*x)));
    if low >= high || !low.is_finite() {
        (low, high) = if low.is_finite() { (low - 0.5, high + 0.5) } else { (0.0, 1.0) };
    }
    let margin = (high - low) * 0.03;
    (low, high) = (if low >= 0.0 { (low - margin).max(0.0) } else { low - margin }, high + margin);
    let most = points().map(|(_, y, _)| *y).chain(chart.limit.iter().map(|(limit, _)| *limit)).fold(0.0, f64::max);
    let end = if most > 0.0 { most * 1.06 } else { 1.0 };
    let entries: Vec<Entry<'_>> = chart
        .series
        .iter()
        .enumerate()
        .map(|(i, series)| Entry { classes: vec![colour(i)], name: &series.name })
        .collect();
    let room = WIDTH - LEFT - RIGHT;
    let top = 34.0 + legend::height(legend::lines(entries.iter().map(|entry| entry.name), room)) + 14.0;
    let frame = Frame { x: LEFT, y: top, width: room, height: HEIGHT };
    let x = |value: f64| frame.x + (value - low) / (high - low) * frame.width;
    let y = |value: f64| frame.bottom() - value.max(0.0) / end * frame.height;

    let mut canvas = Canvas::new(WIDTH, frame.bottom() + 46.0);
    canvas.text((LEFT, 20.0), "head", &chart.title);
    legend::paint(&mut canvas, (LEFT, 34.0), room, &entries);
    legend::x_axis(&mut canvas, frame, &chart.x.1.ticks_between(low, high, 9), x);
    legend::y_axis(&mut canvas, frame, &chart.y.1.ticks(end, 6), y);
    canvas.text((LEFT - 8.0, top - 8.0), "soft small end", &chart.y.0);
    canvas.text((frame.right(), frame.bottom() + 36.0), "soft small end", &chart.x.0);
    if let Some((limit, name)) = &chart.limit {
        canvas.line((frame.x, y(*limit)), (frame.right(), y(*limit)), "limit");
        canvas.text((frame.right(), y(*limit) - 6.0), "small end", &format!("{name} {}", chart.y.1.text(*limit)));
    }
    for (i, series) in chart.series.iter().enumerate() {
        let places: Vec<(f64, f64, &String)> = series
            .points
            .iter()
            .filter(|(x, y, _)| x.is_finite() && y.is_finite())
            .map(|(px, py, tip)| (x(*px), y(*py), tip))
            .collect();
        if series.is_line {
            let line: Vec<(f64, f64)> = places.iter().map(|(x, y, _)| (*x, *y)).collect();
            canvas.polyline(&line, &format!("curve s{}", i % N_COLOURS));
        }
        for (x, y, tip) in places {
            canvas.dot((x, y), if series.is_line { 3.0 } else { 4.0 }, &colour(i), tip);
        }
    }
    let about =
        format!("{} over {}: {} series, {} points.", chart.y.0, chart.x.0, chart.series.len(), points().count());
    canvas.finish(&chart.title, &about)
}
