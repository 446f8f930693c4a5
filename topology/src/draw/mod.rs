//! A fabric as a picture: planes, switches and what joins them, coloured by load. Large tiers are drawn as boxes of many.

mod colour;
mod graph;
mod layout;
mod node;
mod svg;
mod tree;

use layout::Bundles;
use svg::Svg;

use crate::fabric::{Fabric, PlaneShape};

/// Planes that are drawn; those beyond are named only.
const PLANES_MAX: u32 = 8;
/// Panels side by side.
const COLUMNS: u32 = 2;

const MARGIN: f64 = 24.0;
const HEAD: f64 = 64.0;
const PANEL: (f64, f64) = (560.0, 300.0);
const GAP: f64 = 20.0;

/// An SVG drawing. `loads` are bytes of each link, by its number; colours then say for how long each is busy.
///
/// # Panics
/// When there are loads, but not one for each link.
pub fn draw(fabric: &Fabric, loads: Option<&[f64]>) -> String {
    if let Some(loads) = loads {
        assert_eq!(loads.len(), fabric.network().len(), "one load for each link");
    }
    let busy = Busy::new(fabric, loads);
    let drawn = fabric.n_planes().min(PLANES_MAX);
    let columns = drawn.clamp(1, COLUMNS);
    let rows = drawn.div_ceil(columns);
    let node_height = node::HEIGHT;
    let width = 2.0 * MARGIN + f64::from(columns) * (PANEL.0 + GAP) - GAP;
    let planes_height = f64::from(rows) * (PANEL.1 + GAP);
    let mut svg = Svg::new(width, HEAD + planes_height + node_height + MARGIN);
    head(&mut svg, fabric, &busy, drawn);
    for plane in 0..drawn {
        let x = MARGIN + f64::from(plane % columns) * (PANEL.0 + GAP);
        let y = HEAD + f64::from(plane / columns) * (PANEL.1 + GAP);
        svg.panel(x, y, PANEL.0, PANEL.1);
        if fabric.n_planes() > 1 {
            svg.text(x + 12.0, y + 20.0, "start", 13.0, &format!("plane {plane}"));
        }
        match fabric.plane_shape() {
            PlaneShape::Tree2(_) | PlaneShape::Tree3(_) => tree::draw(&mut svg, fabric, &busy, plane, (x, y)),
            PlaneShape::SlimFly(_) | PlaneShape::Dragonfly(_) => graph::draw(&mut svg, fabric, &busy, plane, (x, y)),
        }
    }
    node::draw(&mut svg, fabric, &busy, (MARGIN, HEAD + planes_height), width - 2.0 * MARGIN);
    svg.finish()
}

/// For how long links are busy.
struct Busy {
    seconds: Option<Vec<f64>>,
    longest: f64,
}

impl Busy {
    fn new(fabric: &Fabric, loads: Option<&[f64]>) -> Self {
        let busy =
            |loads: &[f64]| loads.iter().zip(fabric.network()).map(|(bytes, link)| bytes / link.capacity).collect();
        let seconds: Option<Vec<f64>> = loads.map(busy);
        let longest = seconds.iter().flatten().copied().fold(0.0, f64::max);
        Self { seconds, longest }
    }

    fn of(&self, link: u32) -> f64 {
        self.seconds.as_ref().map_or(0.0, |seconds| seconds[link as usize])
    }

    /// Grey without loads; else by the share of the longest.
    fn colour(&self, seconds: f64) -> String {
        match &self.seconds {
            None => colour::PLAIN.to_owned(),
            Some(_) => colour::of(if self.longest > 0.0 { seconds / self.longest } else { 0.0 }),
        }
    }
}

fn head(svg: &mut Svg, fabric: &Fabric, busy: &Busy, drawn: u32) {
    let counts = fabric.counts();
    let kind = fabric.spec().network.as_ref().map_or("single node", |network| network.kind.word()).replace('_', " ");
    let more = fabric.n_planes() - drawn;
    let more = if more > 0 { format!(", {more} more planes not drawn") } else { String::new() };
    svg.text(MARGIN, 28.0, "start", 18.0, fabric.name());
    let line =
        format!("{kind}: {} GPUs, {} switches, {} cables{more}", counts.endpoints, counts.switches, counts.links);
    svg.text(MARGIN, 48.0, "start", 12.0, &line);
    if busy.seconds.is_some() {
        let (width, x) = (160.0, svg.width() - MARGIN - 160.0);
        for step in 0..32 {
            let share = f64::from(step) / 31.0;
            svg.rect(x + width / 32.0 * f64::from(step), 20.0, width / 32.0 + 0.5, 10.0, &colour::of(share));
        }
        svg.text(x, 46.0, "start", 11.0, "idle");
        svg.text(x + width, 46.0, "end", 11.0, &format!("busy for {:.3} ms", busy.longest * 1e3));
    }
}

/// Bundles of cables between boxes, widest below.
fn bundles(svg: &mut Svg, busy: &Busy, bundles: &Bundles, place: impl Fn(u32) -> (f64, f64)) {
    let most = bundles.iter().map(|(_, bundle)| bundle.n_cables).max().unwrap_or(1);
    // Many lines are thin, so that one can see through them.
    let widest = (160.0 / bundles.iter().count() as f64).clamp(0.8, 3.0);
    for ((from, to), bundle) in bundles.iter() {
        let ((x, y), (to_x, to_y)) = (place(*from), place(*to));
        let width = widest * (0.2 + 0.8 * f64::from(bundle.n_cables) / f64::from(most));
        let colour = if bundle.n_down > 0 { colour::DOWN.to_owned() } else { busy.colour(bundle.busy) };
        let title = format!("{} cables{}", bundle.n_cables, if bundle.n_down > 0 { ", some down" } else { "" });
        svg.line((x, y), (to_x, to_y), width, &colour, bundle.n_down > 0, &title);
    }
}
