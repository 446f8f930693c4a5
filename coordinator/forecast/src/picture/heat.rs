//! A heat strip: how busy many links are, one row a tier or plane, one cell a link.

use super::style::text_width;
use super::svg::{Canvas, Frame, Picture};
use super::unit::Unit;

/// Rows of cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// Above.
    pub title: String,
    /// What the rows are, for example `plane`.
    pub rows_are: String,
    /// What a cell is, for tips, for example `link`.
    pub cells_are: String,
    /// Name of each row and its cells: a share of capacity from 0 to 1, or none for one that is down.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
}

const WIDTH: f64 = 1120.0;
const RIGHT: f64 = 124.0;
const ROW: f64 = 22.0;
const GAP: f64 = 4.0;
/// Rows longer than this show the busiest of each run of neighbours.
const CELLS: usize = 256;

/// Draws a heat strip.
pub fn heat(heat: &Heat) -> Picture {
    let longest =
        heat.rows.iter().map(|(name, _)| text_width(name, 12.0)).fold(text_width(&heat.rows_are, 11.0), f64::max);
    let left = (longest + 18.0).clamp(40.0, 300.0);
    let top = 66.0;
    let room = WIDTH - left - RIGHT;
    let mut canvas = Canvas::new(WIDTH, top + heat.rows.len() as f64 * (ROW + GAP) + 12.0);
    canvas.text((left, 20.0), "head", &heat.title);
    scale(&mut canvas, left);
    canvas.text((left - 10.0, top - 6.0), "soft small end", &heat.rows_are);
    canvas.text((left + room + 8.0, top - 6.0), "soft small", "mean, busiest");
    for (i, (name, cells)) in heat.rows.iter().enumerate() {
        let y = top + i as f64 * (ROW + GAP);
        canvas.text((left - 10.0, y + 15.0), "end", name);
        paint_cells(&mut canvas, &heat.cells_are, name, cells, Frame { x: left, y, width: room, height: ROW });
        let (mean, most) = summary(cells);
        let down = cells.iter().filter(|cell| cell.is_none()).count();
        let down = if down > 0 { format!(", {down} down") } else { String::new() };
        let text = format!("{}, {}{down}", Unit::Share.text(mean), Unit::Share.text(most));
        canvas.text((left + room + 8.0, y + 15.0), "small", &text);
    }
    let busiest = |(name, cells): &(String, Vec<Option<f64>>)| format!("{name} {}", Unit::Share.text(summary(cells).1));
    let about: Vec<String> = heat.rows.iter().take(32).map(busiest).collect();
    canvas.finish(&heat.title, &format!("Busiest of each row: {}.", about.join(", ")))
}

/// Mean and largest of what is up.
fn summary(cells: &[Option<f64>]) -> (f64, f64) {
    let up: Vec<f64> = cells.iter().copied().flatten().collect();
    (up.iter().fold(0.0, |sum, share| sum + share) / up.len().max(1) as f64, up.iter().copied().fold(0.0, f64::max))
}

fn paint_cells(canvas: &mut Canvas, cells_are: &str, name: &str, cells: &[Option<f64>], at: Frame) {
    let run = cells.len().div_ceil(CELLS).max(1);
    let n = cells.len().div_ceil(run).max(1);
    let each = at.width / n as f64;
    let gap = if each > 4.0 { 1.0 } else { 0.0 };
    let shown: Vec<&[Option<f64>]> = cells.chunks(run).collect();
    let is_down = |cell: &[Option<f64>]| cell.iter().all(Option::is_none);
    let mut next = 0;
    for cells in shown.chunk_by(|a, b| is_down(a) && is_down(b)) {
        let x = at.x + next as f64 * each;
        let first = next * run;
        next += cells.len();
        let last = (next * run).min(first + cells.iter().map(|cell| cell.len()).sum::<usize>()) - 1;
        let which = if first == last {
            format!("{name}, {cells_are} {first}")
        } else {
            format!("{name}, {cells_are} {first} to {last}")
        };
        let frame = Frame { x, width: cells.len() as f64 * each - gap, ..at };
        if is_down(cells[0]) {
            down(canvas, frame, &which);
        } else {
            let (_, most) = summary(cells[0]);
            let most_text = Unit::Share.text(most);
            let tip =
                if first == last { format!("{which}: {most_text}") } else { format!("{which}: {most_text} at most") };
            canvas.rect(frame, &format!("h{}", level(most)), Some(&tip));
        }
    }
}

/// What is down is empty, with a red edge.
fn down(canvas: &mut Canvas, at: Frame, which: &str) {
    let inner = Frame { x: at.x + 0.75, y: at.y + 0.75, width: at.width - 1.5, height: at.height - 1.5 };
    canvas.rect(inner, "down", Some(&format!("{which}: down")));
    if at.width > 44.0 {
        canvas.text((at.x + at.width / 2.0, at.y + 15.0), "small mid over", "down");
    }
}

/// Nine levels of load; the tenth is full.
fn level(share: f64) -> usize {
    if share >= 0.995 { 9 } else { ((share.max(0.0) * 9.0) as usize).min(8) }
}

fn scale(canvas: &mut Canvas, left: f64) {
    for i in 0..10 {
        canvas.rect(
            Frame { x: left + 44.0 + f64::from(i) * 18.0, y: 32.0, width: 18.0, height: 12.0 },
            &format!("h{i}"),
            None,
        );
    }
    canvas.text((left, 42.0), "soft small", "empty");
    canvas.text((left + 230.0, 42.0), "soft small", "full");
}
