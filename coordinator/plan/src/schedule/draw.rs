//! A schedule as a picture of text: one row a pipeline coordinate, time to the right.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Action, Microbatch, Pass, Piece, Span, StageId, Timeline};

/// Draws a timeline, one cell a unit of time; what does not fit in `columns` characters is cut off, with a sign.
/// `F3` is a forward of microbatch 3, `B3` a whole backward, `I3` its input gradients, `W3` its weight gradients; `-`
/// goes on with it, `.` is idle. Where a microbatch passes a coordinate several times, `F3.1` is the second of the
/// coordinate's stages, and so on.
pub fn draw(timeline: &Timeline, columns: usize) -> String {
    let width = cell_width(timeline);
    let label = format!("{}", timeline.rows.len().saturating_sub(1)).len();
    let room = columns.saturating_sub(label + 2) / width;
    let units = timeline.end() as usize;
    let shown = units.min(room.max(1));
    let mut picture = String::new();
    for (pipeline, row) in timeline.rows.iter().enumerate() {
        let mut cells = vec![format!("{:<width$}", "."); units];
        let names = Names::of(row);
        for span in row {
            let (start, end) = (span.start as usize, span.end as usize);
            for (unit, cell) in cells[start..end].iter_mut().enumerate() {
                let text = if unit == 0 { names.action(span.action) } else { String::new() };
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
    let longest = |row: &Vec<Span>| {
        let names = Names::of(row);
        row.iter().map(|span| names.action(span.action).len()).max()
    };
    timeline.rows.iter().filter_map(longest).max().unwrap_or(1) + 1
}

/// How the actions of one coordinate are written.
struct Names {
    /// The coordinate's stages in the order of the model, where a stage must be told from the others.
    told: Vec<StageId>,
}

impl Names {
    fn of(row: &[Span]) -> Self {
        let forwards = || row.iter().flat_map(|span| span.action.pieces()).filter(|piece| piece.pass == Pass::Forward);
        let microbatches: BTreeSet<Microbatch> = forwards().map(|piece| piece.microbatch).collect();
        let stages: BTreeSet<StageId> = forwards().map(|piece| piece.stage).collect();
        let passes_again = microbatches.len() < forwards().count();
        Self { told: if passes_again { stages.into_iter().collect() } else { Vec::new() } }
    }

    fn action(&self, action: Action) -> String {
        action.pieces().map(|piece| self.piece(piece)).collect()
    }

    fn piece(&self, piece: Piece) -> String {
        let letter = piece.pass.letter();
        match self.told.iter().position(|&stage| stage == piece.stage) {
            Some(place) if place > 0 => format!("{letter}{}.{place}", piece.microbatch.0),
            _ => format!("{letter}{}", piece.microbatch.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Schedule, timeline};
    use crate::spec::ScheduleKind;

    fn picture(n_stages: u32, n_microbatches: u32, columns: usize) -> String {
        picture_of(ScheduleKind::OneFOneB, n_stages, n_microbatches, columns)
    }

    fn picture_of(kind: ScheduleKind, n_pipeline: u32, n_microbatches: u32, columns: usize) -> String {
        let schedule = Schedule::new(kind, n_pipeline, 1, n_microbatches).unwrap();
        let cost = |action: Action| action.pieces().map(|p| if p.pass == Pass::Backward { 2 } else { 1 }).sum();
        draw(&timeline(&schedule.actions, schedule.placement, cost).unwrap(), columns)
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

    #[test]
    fn a_pair_is_written_together_and_a_second_pass_has_its_number() {
        let picture = picture_of(ScheduleKind::DualPipeV, 2, 4, 73);
        let expected = "\
0  F0---- F1---- F2---- F0.1-- I0.1-- W0.1-- F1.1-- F3B1.1--------------…
1  .      F0---- F0.1-- F1---- F1.1-- F2---- B0.1--------- F2.1B0--------…
";
        assert_eq!(picture, expected);
    }
}
