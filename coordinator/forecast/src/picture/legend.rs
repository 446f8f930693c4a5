//! Titles, axes and legends, alike in all pictures.

use super::style::text_width;
use super::svg::{Canvas, Frame};

const MARK: f64 = 12.0;
const LINE: f64 = 19.0;

/// One entry: the classes of its mark (two are painted above each other) and its name.
pub(super) struct Entry<'a> {
    pub(super) classes: Vec<String>,
    pub(super) name: &'a str,
}

/// How many lines a legend of such names takes within `width`.
pub(super) fn lines<'a>(names: impl Iterator<Item = &'a str>, width: f64) -> usize {
    let mut at = 0.0;
    let mut lines = 1;
    for name in names {
        let wide = entry_width(name);
        if at > 0.0 && at + wide > width {
            lines += 1;
            at = 0.0;
        }
        at += wide;
    }
    lines
}

/// Height of so many lines.
pub(super) fn height(lines: usize) -> f64 {
    lines as f64 * LINE
}

/// Paints a legend; what does not fit on a line goes to the next.
pub(super) fn paint(canvas: &mut Canvas, at: (f64, f64), width: f64, entries: &[Entry<'_>]) {
    let (mut x, mut y) = at;
    for entry in entries {
        let wide = entry_width(entry.name);
        if x > at.0 && x + wide > at.0 + width {
            x = at.0;
            y += LINE;
        }
        let each = MARK / entry.classes.len().max(1) as f64;
        for (i, class) in entry.classes.iter().enumerate() {
            canvas.rect(Frame { x, y: y + each * i as f64, width: MARK, height: each }, class, None);
        }
        canvas.text((x + MARK + 6.0, y + 10.0), "soft", entry.name);
        x += wide;
    }
}

/// Upright lines at ticks, with their labels below the frame.
pub(super) fn x_axis(canvas: &mut Canvas, frame: Frame, ticks: &[(f64, String)], place: impl Fn(f64) -> f64) {
    for (value, text) in ticks {
        let x = place(*value);
        canvas.line((x, frame.y), (x, frame.bottom() + 4.0), "grid");
        canvas.text((x, frame.bottom() + 17.0), "soft small mid", text);
    }
}

/// Level lines at ticks, with their labels to the left of the frame.
pub(super) fn y_axis(canvas: &mut Canvas, frame: Frame, ticks: &[(f64, String)], place: impl Fn(f64) -> f64) {
    for (value, text) in ticks {
        let y = place(*value);
        canvas.line((frame.x - 4.0, y), (frame.right(), y), "grid");
        canvas.text((frame.x - 8.0, y + 4.0), "soft small end", text);
    }
}

fn entry_width(name: &str) -> f64 {
    MARK + 6.0 + text_width(name, 12.0) + 18.0
}
