//! What a search found, as a section of a page.

use super::search_text::{HEAD, N_BEST, rows, summary};
use crate::page::{Block, Section, Table};
use crate::picture::{Bars, Chart, Row, Series, Unit, bars, chart};
use crate::search::{Found, Layout, Rejected};

/// The section: the best layouts, all that fit, and why the others are out.
pub(super) fn search_section(found: &Found, own: Layout) -> Section {
    let mut parts = vec![Block::Text(summary(found))];
    if !found.ranked.is_empty() {
        let mut best = Table::new(&HEAD, rows(found, N_BEST));
        best.marked = found.ranked.iter().take(N_BEST).position(|one| one.layout == own);
        parts.push(Block::Picture(search_picture(found)));
        parts.push(Block::Table(best));
        parts.push(Block::Text("Every layout that fits, by schedule:".to_owned()));
        parts.push(Block::Picture(scatter(found)));
    }
    if let Some(best) = found.ranked.first() {
        parts.push(Block::Text("The first one, to be pasted into the job:".to_owned()));
        parts.push(Block::Code(best.layout.yaml()));
        parts.push(Block::Code(best.layout.flags()));
    }
    let head = ["rejected", "why", "for example"];
    parts.push(Block::Table(Table::new(&head, rejected_cells(found))));
    Section { title: "Search".to_owned(), parts }
}

/// The parts of a step under the best layouts.
pub fn search_picture(found: &Found) -> crate::picture::Picture {
    let best = || found.ranked.iter().take(N_BEST);
    let mut names: Vec<&str> = Vec::new();
    for part in best().flat_map(|one| &one.forecast.parts) {
        if !names.contains(&part.name) {
            names.push(part.name);
        }
    }
    let row = |(place, one): (usize, &crate::search::Ranked)| Row {
        name: (place + 1).to_string(),
        values: names.iter().map(|name| one.forecast.part(name)).collect(),
    };
    bars(&Bars {
        title: "Step time of the best layouts".to_owned(),
        rows_are: "place".to_owned(),
        parts: names.iter().map(|&name| name.to_owned()).collect(),
        rows: best().enumerate().map(row).collect(),
        limit: None,
        unit: Unit::Seconds,
    })
}

/// Step time over memory; beyond twice the best time nobody looks.
fn scatter(found: &Found) -> crate::picture::Picture {
    let fastest = found.ranked.first().map_or(0.0, |one| one.forecast.seconds());
    let mut series: Vec<Series> = Vec::new();
    for one in found.ranked.iter().filter(|one| one.forecast.seconds() <= 2.0 * fastest) {
        let name = one.layout.schedule.to_string();
        let seconds = one.forecast.seconds();
        let point = (one.memory.total() as f64, seconds, format!("{}: {}", one.layout, Unit::Seconds.text(seconds)));
        match series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push(point),
            None => series.push(Series { name, is_line: false, points: vec![point] }),
        }
    }
    chart(&Chart {
        title: "Step time and memory of layouts that fit".to_owned(),
        x: ("memory of the largest rank".to_owned(), Unit::Bytes),
        y: ("step time".to_owned(), Unit::Seconds),
        series,
        limit: None,
    })
}

/// One row a kind of reason. The layout and its numbers share a cell, which may break into lines.
fn rejected_cells(found: &Found) -> Vec<Vec<String>> {
    let cells = |Rejected { kind, count, example, reason }: &Rejected| {
        vec![count.to_string(), (*kind).to_owned(), format!("{example}: {reason}")]
    };
    found.rejected.iter().map(cells).collect()
}
