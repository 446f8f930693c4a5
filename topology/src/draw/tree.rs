//! A fat-tree: its tiers as rows of boxes, hosts below.

use super::layout::{Bundles, Grouped, hosts};
use super::svg::Svg;
use super::{Busy, PANEL, bundles, colour};
use crate::fabric::{Fabric, PlaneShape, Switch, Tier};

/// Boxes side by side.
const BOXES_MAX: u32 = 16;

/// One row.
struct Row {
    tier: Tier,
    grouped: Grouped,
    words: (&'static str, &'static str),
    y: f64,
    /// The number of its first box.
    first: u32,
}

pub(super) fn draw(svg: &mut Svg, fabric: &Fabric, busy: &Busy, plane: u32, (x, y): (f64, f64)) {
    let rows = rows(fabric);
    let row_of = |tier: Tier| rows.iter().find(|row| row.tier == tier).expect("every tier has a row");
    let box_of = |switch: Switch| {
        let row = row_of(switch.tier);
        row.first + row.grouped.box_of(switch.number)
    };
    let place = |number: u32| {
        let row = rows.iter().rev().find(|row| row.first <= number).expect("the first row begins at 0");
        let step = (PANEL.0 - 24.0) / f64::from(row.grouped.n_boxes());
        (x + 12.0 + step * (f64::from(number - row.first) + 0.5), y + row.y)
    };
    bundles(svg, busy, &Bundles::new(fabric, busy, plane, box_of), place);
    let leaves = row_of(Tier::Leaf);
    let below = hosts(fabric, busy, plane, leaves.grouped.n_boxes(), |switch| box_of(switch) - leaves.first);
    for row in &rows {
        let step = (PANEL.0 - 24.0) / f64::from(row.grouped.n_boxes());
        for number in 0..row.grouped.n_boxes() {
            let (long, short) = row.grouped.label(number, row.words.0, row.words.1);
            svg.labelled(place(row.first + number), ((step - 4.0).min(72.0), 18.0), &long, &short);
        }
    }
    for (number, bundle) in (0..).zip(&below) {
        let (at, top) = place(leaves.first + number);
        let width = ((PANEL.0 - 24.0) / f64::from(leaves.grouped.n_boxes()) - 4.0).min(72.0);
        let fill = if bundle.n_down > 0 { colour::DOWN.to_owned() } else { busy.colour(bundle.busy) };
        svg.rect(at - width / 2.0, top + 18.0, width, 12.0, &fill);
        let words = if width >= 50.0 { format!("{} hosts", bundle.n_cables) } else { bundle.n_cables.to_string() };
        svg.text(at, top + 42.0, "middle", 9.0, &words);
    }
    // What boxes hold, where they have room for a number only.
    let held: Vec<String> = rows.iter().filter(|row| row.grouped.per_box > 1).map(Row::held).collect();
    if !held.is_empty() {
        svg.text(x + PANEL.0 - 12.0, y + 20.0, "end", 10.0, &format!("boxes of {}", held.join(", ")));
    }
}

impl Row {
    fn held(&self) -> String {
        format!("{} {}", self.grouped.per_box, self.words.1)
    }
}

fn rows(fabric: &Fabric) -> Vec<Row> {
    let mut rows = match fabric.plane_shape() {
        PlaneShape::Tree3(tree) => vec![
            row(fabric, Tier::Core, tree.cores, ("core", "cores"), 55.0),
            row(fabric, Tier::Aggregation, tree.aggregations, ("agg", "aggs"), 140.0),
            row(fabric, Tier::Leaf, tree.leaves_per_pod, ("leaf", "leaves"), 225.0),
        ],
        PlaneShape::Tree2(tree) if tree.uplinks > 0 => vec![
            row(fabric, Tier::Spine, 1, ("spine", "spines"), 65.0),
            row(fabric, Tier::Leaf, tree.leaves.rails, ("leaf", "leaves"), 215.0),
        ],
        _ => vec![row(fabric, Tier::Leaf, 1, ("leaf", "leaves"), 140.0)],
    };
    let mut first = 0;
    for row in &mut rows {
        row.first = first;
        first += row.grouped.n_boxes();
    }
    rows
}

/// Boxes hold whole pods, columns or sets of rails where switches are too many to be drawn one by one.
fn row(fabric: &Fabric, tier: Tier, unit: u32, words: (&'static str, &'static str), y: f64) -> Row {
    let n = fabric.n_switches_of(tier);
    let grouped = Grouped::new(n, if n <= BOXES_MAX { 1 } else { unit }, BOXES_MAX);
    Row { tier, grouped, words, y, first: 0 }
}
