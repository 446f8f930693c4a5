//! Ways through a fat-tree: which uplinks to take. All arithmetic.

use super::Ask;
use super::policy::Policy;
use crate::fabric::{Fabric, PlaneShape};
use crate::flow::LinkId;

/// Up and down again: at most two links up and two down.
struct Way {
    links: [LinkId; 4],
    len: usize,
}

impl Way {
    fn links(&self) -> &[LinkId] {
        &self.links[..self.len]
    }
}

/// Gives the ways that a policy takes between two hosts of a plane. False when none is left.
pub(super) fn ways(fabric: &Fabric, ask: &Ask, loads: &[f64], give: &mut dyn FnMut(&[LinkId])) -> bool {
    let n_ways = n_ways(fabric, ask);
    let mut alive =
        (0..n_ways).map(|i| way(fabric, ask, i)).filter(|way| !way.links().iter().any(|&l| fabric.is_down(l)));
    match ask.policy {
        Policy::Static | Policy::StaticRail | Policy::Ecmp { .. } | Policy::Valiant { .. } => {
            let Some(first) = alive.next() else { return false };
            give(first.links());
            true
        }
        Policy::Adaptive => {
            let Some(least) = least_loaded(fabric, ask, n_ways, loads) else { return false };
            give(least.links());
            true
        }
        Policy::Spray => {
            let mut any = false;
            alive.for_each(|way| {
                give(way.links());
                any = true;
            });
            any
        }
    }
}

/// As switches do it, hop by hop: first the cable of the leaf whose way down at the other end is the least busy too, then
/// that of the aggregation switch.
fn least_loaded(fabric: &Fabric, ask: &Ask, n_ways: u32, loads: &[f64]) -> Option<Way> {
    let uplinks = match fabric.plane_shape() {
        PlaneShape::Tree3(tree) if n_ways > tree.aggregations => tree.uplinks,
        _ => 1,
    };
    let alive = |n: u32| {
        let way = way(fabric, ask, n);
        (!way.links().iter().any(|&link| fabric.is_down(link))).then_some(way)
    };
    // All ways of a column have the same first and last link.
    let at_leaves = |n: u32| {
        let way = (n..n + uplinks).find_map(alive)?;
        Some((busiest(&[way.links()[0], way.links()[way.len - 1]], loads), n))
    };
    if n_ways == 1 {
        return alive(0);
    }
    let columns = (0..n_ways).step_by(uplinks as usize).filter_map(at_leaves);
    let (_, column) = columns.reduce(|a, b| if b.0 < a.0 { b } else { a })?;
    let above = (column..column + uplinks).filter_map(alive).map(|way| (busiest(way.links(), loads), way));
    above.reduce(|a, b| if b.0 < a.0 { b } else { a }).map(|(_, way)| way)
}

fn busiest(links: &[LinkId], loads: &[f64]) -> f64 {
    links.iter().map(|link| loads[link.0 as usize]).fold(0.0, f64::max)
}

fn n_ways(fabric: &Fabric, ask: &Ask) -> u32 {
    match fabric.plane_shape() {
        PlaneShape::Tree2(tree) if tree.leaves.of(ask.from) == tree.leaves.of(ask.to) => 1,
        PlaneShape::Tree2(tree) => tree.uplinks,
        PlaneShape::Tree3(tree) => {
            let (from, to) = (tree.leaves.of(ask.from), tree.leaves.of(ask.to));
            match (from == to, from / tree.leaves_per_pod == to / tree.leaves_per_pod) {
                (true, _) => 1,
                (false, true) => tree.aggregations,
                (false, false) => tree.aggregations * tree.uplinks,
            }
        }
        PlaneShape::SlimFly(_) | PlaneShape::Dragonfly(_) => unreachable!("a graph is no tree"),
    }
}

/// The n-th way in the order in which they are tried. D-mod-k: the first is that of the destination's number; then the
/// next uplink at the top, and when all of those have been tried, the next below.
fn way(fabric: &Fabric, ask: &Ask, n: u32) -> Way {
    let plane = fabric.plane_shape();
    let cables = fabric.first_of_plane(ask.plane) + 2 * plane.n_hosts();
    let up = |cable: u32| LinkId(cables + 2 * cable);
    let down = |cable: u32| LinkId(cables + 2 * cable + 1);
    match plane {
        PlaneShape::Tree2(tree) => {
            let (from, to) = (tree.leaves.of(ask.from), tree.leaves.of(ask.to));
            if from == to {
                return Way { links: [LinkId(0); 4], len: 0 };
            }
            let uplink = ((ask.choice + u64::from(n)) % u64::from(tree.uplinks)) as u32;
            let (first, second) = (up(tree.cable(from, uplink)), down(tree.cable(to, uplink)));
            Way { links: [first, second, second, second], len: 2 }
        }
        PlaneShape::Tree3(tree) => {
            let (from, to) = (tree.leaves.of(ask.from), tree.leaves.of(ask.to));
            let (from_pod, to_pod) = (from / tree.leaves_per_pod, to / tree.leaves_per_pod);
            let n_columns = u64::from(tree.aggregations);
            let column = |step: u32| ((ask.choice + u64::from(step)) % n_columns) as u32;
            if from == to {
                return Way { links: [LinkId(0); 4], len: 0 };
            }
            if from_pod == to_pod {
                let (first, last) = (up(tree.leaf_cable(from, column(n))), down(tree.leaf_cable(to, column(n))));
                return Way { links: [first, last, last, last], len: 2 };
            }
            let column = column(n / tree.uplinks);
            let uplink = ((ask.choice / n_columns + u64::from(n % tree.uplinks)) % u64::from(tree.uplinks)) as u32;
            let links = [
                up(tree.leaf_cable(from, column)),
                up(tree.core_cable(from_pod, column, uplink)),
                down(tree.core_cable(to_pod, column, uplink)),
                down(tree.leaf_cable(to, column)),
            ];
            Way { links, len: 4 }
        }
        PlaneShape::SlimFly(_) | PlaneShape::Dragonfly(_) => unreachable!("a graph is no tree"),
    }
}
