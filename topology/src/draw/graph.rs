//! A Slim Fly or Dragonfly: boxes on a circle. Many switches are drawn group by group.

use std::f64::consts::TAU;

use super::layout::{Bundles, Grouped, hosts};
use super::svg::Svg;
use super::{Busy, PANEL, bundles, colour};
use crate::fabric::{Fabric, PlaneShape, Switch, Tier};

/// Boxes on the circle.
const BOXES_MAX: u32 = 64;

pub(super) fn draw(svg: &mut Svg, fabric: &Fabric, busy: &Busy, plane: u32, (x, y): (f64, f64)) {
    let n_switches = fabric.n_switches_of(Tier::Flat);
    let (unit, what) = match fabric.plane_shape() {
        PlaneShape::Dragonfly(fly) => (fly.switches, "groups"),
        PlaneShape::SlimFly(fly) => (fly.q, "columns"),
        PlaneShape::Tree2(_) | PlaneShape::Tree3(_) => unreachable!("a tree is no graph"),
    };
    let unit = if n_switches <= BOXES_MAX { 1 } else { unit };
    let grouped = Grouped::new(n_switches, unit, BOXES_MAX);
    let n_boxes = grouped.n_boxes();
    let centre = (x + PANEL.0 / 2.0, y + PANEL.1 / 2.0 + 4.0);
    let on_circle = |number: u32, radius: f64| {
        let angle = TAU * f64::from(number) / f64::from(n_boxes) - TAU / 4.0;
        (centre.0 + radius * angle.cos(), centre.1 + radius * angle.sin())
    };
    let box_of = |switch: Switch| grouped.box_of(switch.number);
    let radius = PANEL.1 / 2.0 - 42.0;
    bundles(svg, busy, &Bundles::new(fabric, busy, plane, box_of), |number| on_circle(number, radius));
    for (number, bundle) in (0..).zip(&hosts(fabric, busy, plane, n_boxes, box_of)) {
        let fill = if bundle.n_down > 0 { colour::DOWN.to_owned() } else { busy.colour(bundle.busy) };
        let (at_x, at_y) = on_circle(number, radius);
        svg.rect(at_x - 3.5, at_y - 3.5, 7.0, 7.0, &fill);
        // Every label that has room.
        if n_boxes <= 40 || number % 2 == 0 {
            let (label_x, label_y) = on_circle(number, radius + 14.0);
            svg.text(label_x, label_y + 3.0, "middle", 8.0, &number.to_string());
        }
    }
    let held = match (unit, grouped.per_box) {
        (1, 1) => format!("{n_switches} switches"),
        (_, per_box) => format!("{n_switches} switches in {n_boxes} {what} of {per_box}"),
    };
    svg.text(x + PANEL.0 - 12.0, y + 20.0, "end", 10.0, &held);
}
