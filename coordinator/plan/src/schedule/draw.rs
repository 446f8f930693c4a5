//! A schedule as a picture of text: one row a pipeline coordinate, time to the right.

use std::fmt::Write as _;

use super::{Action, Pass, Piece, Timeline};

/// Draws a timeline, one cell a unit of time; what does not fit in `columns` characters is cut off, with a sign.
/// `F3` is a forward of microbatch 3, `B3` a whole backward, `I3` its input gradients, `W3` its weight gradients; `-`
/// goes on with it, `.` is idle.
pub fn draw(timeline: &Timeline, columns: usize) -> String {
    let width = cell_width(timeline);
    let label = format!("{}", timeline.rows.len().saturating_sub(1)).len();
    let room = columns.saturating_sub(label + 2) / width;
    let units = timeline.end() as usize;
    let shown = units.min(room.max(1));
    let mut picture = String::new();
    for (pipeline, row) in timeline.rows.iter().enumerate() {
        let mut cells = vec![format!("{:<width$}", "."); units];
        for span in row {
            let (start, end) = (span.start as usize, span.end as usize);
            for (unit, cell) in cells[start..end].iter_mut().enumerate() {
                let text = if unit == 0 { name(span.action) } else { String::new() };
                // The last cell of an action ends with a gap, so that neighbours stay apart.
                let filled = if start + unit + 1 == end { width - 1 } else { width };
                *cell = format!("{:<width$}", format!("{text:-<filled$}"));
            }
        }
        let line: String = cells[..shown].concat();
        let more = if shown < units { "…" } else { "" };
        writeln!(picture, "{pipeline:>label$}  {}{more}", line.trim_end()).expect("writing to a string");
    }
    picture
}

fn cell_width(timeline: &Timeline) -> usize {
    let longest = timeline.rows.iter().flatten().map(|span| name(span.action).len()).max();
    longest.unwrap_or(1) + 1
}

fn name(action: Action) -> String {
    match action {
        Action::One(piece) => piece_name(piece),
        Action::Overlapped { forward, backward } => format!("{}{}", piece_name(forward), piece_name(backward)),
    }
}

fn piece_name(piece: Piece) -> String {
    let letter = match piece.pass {
        Pass::Forward => 'F',
        Pass::Backward => 'B',
        Pass::BackwardInput => 'I',
        Pass::BackwardWeight => 'W',
    };
    format!("{letter}{}", piece.microbatch.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{StageId, one_f_one_b, timeline};

    fn picture(n_stages: u32, n_microbatches: u32, columns: usize) -> String {
        let actions: Vec<Vec<Action>> =
            (0..n_stages).map(|stage| one_f_one_b(StageId(stage), n_stages, n_microbatches)).collect();
        let cost = |action: Action| action.pieces().map(|p| if p.pass == Pass::Forward { 1 } else { 2 }).sum();
        draw(&timeline(&actions, n_stages, cost).unwrap(), columns)
    }

    #[test]
    fn a_small_pipeline_looks_as_in_the_books() {
        let expected = "\
0  F0 F1 .  .  B0--- F2 B1--- F3 B2--- .  B3---
1  .  F0 B0--- F1 B1--- F2 B2--- F3 B3--- .  .
";
        assert_eq!(picture(2, 4, 100), expected);
    }

    #[test]
    fn a_long_one_is_cut_with_a_sign() {
        let expected = "\
0  F0 F1 .…
1  .  F0 B0-…
";
        assert_eq!(picture(2, 4, 14), expected);
    }

    #[test]
    fn numbers_of_two_digits_keep_the_columns_straight() {
        let rows: Vec<String> = picture(2, 12, 1000).lines().map(str::to_owned).collect();
        let at = |row: &str, name: &str| row.find(name).unwrap();
        assert_eq!(at(&rows[0], "B10") % 4, at(&rows[1], "B10") % 4);
    }
}
