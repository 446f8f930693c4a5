//! Which switches share a box, and which cables a line.

use std::collections::BTreeMap;

use super::Busy;
use crate::fabric::{Fabric, Point, Switch};
use crate::flow::LinkId;

/// All cables between two boxes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bundle {
    pub(super) n_cables: u32,
    pub(super) n_down: u32,
    /// Seconds of the busiest.
    pub(super) busy: f64,
}

/// By the boxes at both ends, the lesser first.
pub(super) struct Bundles(BTreeMap<(u32, u32), Bundle>);

impl Bundles {
    /// Of the cables between switches of a plane; those within a box are left out.
    pub(super) fn new(fabric: &Fabric, busy: &Busy, plane: u32, box_of: impl Fn(Switch) -> u32) -> Self {
        let mut bundles: BTreeMap<(u32, u32), Bundle> = BTreeMap::new();
        for link in fabric.links_of_plane(plane) {
            let (Point::Switch(from), Point::Switch(to)) = fabric.ends(link) else { continue };
            let (from, to) = (box_of(from), box_of(to));
            if from == to {
                continue;
            }
            let bundle = bundles.entry((from.min(to), from.max(to))).or_default();
            // Both directions have a link; one of them counts the cable.
            bundle.n_cables += u32::from(from < to);
            bundle.n_down += u32::from(fabric.is_down(link));
            bundle.busy = bundle.busy.max(busy.of(link.0));
        }
        Self(bundles)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&(u32, u32), &Bundle)> {
        self.0.iter()
    }
}

/// Things in boxes: at most so many boxes, each with as many things.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grouped {
    pub(super) n_things: u32,
    pub(super) per_box: u32,
}

impl Grouped {
    /// As few to a box as the limit allows; boxes hold whole multiples of `unit`.
    pub(super) fn new(n_things: u32, unit: u32, boxes_max: u32) -> Self {
        Self { n_things, per_box: n_things.div_ceil(unit).div_ceil(boxes_max).max(1) * unit }
    }

    pub(super) fn n_boxes(&self) -> u32 {
        self.n_things.div_ceil(self.per_box)
    }

    pub(super) fn box_of(&self, thing: u32) -> u32 {
        thing / self.per_box
    }

    /// `leaf 3` and `3`, or `32 leaves` and `32`.
    pub(super) fn label(&self, number: u32, one: &str, many: &str) -> (String, String) {
        if self.per_box == 1 {
            return (format!("{one} {number}"), number.to_string());
        }
        let held = self.per_box.min(self.n_things - number * self.per_box);
        (format!("{held} {many}"), held.to_string())
    }
}

/// What hosts send and get, for every box of the switches that they are on: how many, how many are down, seconds.
pub(super) fn hosts(
    fabric: &Fabric,
    busy: &Busy,
    plane: u32,
    n_boxes: u32,
    box_of: impl Fn(Switch) -> u32,
) -> Vec<Bundle> {
    let mut all = vec![Bundle::default(); n_boxes as usize];
    for link in fabric.links_of_plane(plane) {
        let (switch, up) = match fabric.ends(link) {
            (Point::Port { .. }, Point::Switch(switch)) => (switch, true),
            (Point::Switch(switch), Point::Port { .. }) => (switch, false),
            _ => continue,
        };
        let bundle = &mut all[box_of(switch) as usize];
        bundle.n_cables += u32::from(up);
        bundle.n_down += u32::from(fabric.is_down(link));
        bundle.busy = bundle.busy.max(busy.of(link.0));
    }
    all
}

/// Seconds of the busiest of some links, and whether any is down.
pub(super) fn worst(fabric: &Fabric, busy: &Busy, links: impl Iterator<Item = LinkId>) -> (f64, bool) {
    links.fold((0.0, false), |(seconds, down), link| (f64::max(seconds, busy.of(link.0)), down || fabric.is_down(link)))
}
