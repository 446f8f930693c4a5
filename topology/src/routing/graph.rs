//! Ways through a Slim Fly or a Dragonfly: switch by switch, always nearer.

use std::collections::HashMap;

use super::Ask;
use super::hash::hash;
use super::policy::Policy;
use crate::fabric::{Fabric, Graph, switch_of_host};
use crate::flow::LinkId;

/// A switch from which the destination cannot be reached.
const UNREACHABLE: u8 = u8::MAX;

/// A spray over more ways than this is cut.
const WAYS_MAX: usize = 64;

/// Hops from every switch to a destination, by plane and destination; found when first asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct GraphRoutes {
    hops: HashMap<(u32, u32), Box<[u8]>>,
}

impl GraphRoutes {
    /// Gives the ways that a policy takes between two hosts of a plane. False when none is left.
    pub(super) fn ways(&mut self, fabric: &Fabric, ask: &Ask, loads: &[f64], give: &mut dyn FnMut(&[LinkId])) -> bool {
        let shape = fabric.plane_shape();
        let (from, to) = (switch_of_host(shape, ask.from), switch_of_host(shape, ask.to));
        if from == to {
            give(&[]);
            return true;
        }
        let plane = Plane::new(fabric, ask.plane);
        self.find(&plane, to);
        if self.hops(&plane, to)[from as usize] == UNREACHABLE {
            return false;
        }
        match ask.policy {
            Policy::Static | Policy::StaticRail => give(&self.walk(&plane, from, to, |ways| ways[0])),
            Policy::Ecmp { .. } => give(&self.walk(&plane, from, to, by_hash(ask.choice))),
            Policy::Valiant { .. } => give(&self.detour(&plane, from, to, ask.choice)),
            Policy::Adaptive => give(&self.least_loaded(&plane, from, to, loads)),
            Policy::Spray => self.all_shortest(&plane, from, to).iter().for_each(|way| give(way)),
        }
        true
    }

    fn find(&mut self, plane: &Plane<'_>, to: u32) {
        self.hops.entry((plane.number, to)).or_insert_with(|| plane.hops_to(to));
    }

    fn hops(&self, plane: &Plane<'_>, to: u32) -> &[u8] {
        &self.hops[&(plane.number, to)]
    }

    /// Steps that lead nearer, in rising order of the next switch.
    fn nearer<'a>(&'a self, plane: &'a Plane<'_>, at: u32, to: u32) -> impl Iterator<Item = (LinkId, u32)> + 'a {
        let hops = self.hops(plane, to);
        plane.out(at).filter(move |&(_, next)| hops[next as usize] < hops[at as usize])
    }

    fn walk(
        &self,
        plane: &Plane<'_>,
        from: u32,
        to: u32,
        pick: impl Fn(&[(LinkId, u32)]) -> (LinkId, u32),
    ) -> Vec<LinkId> {
        let (mut at, mut way) = (from, Vec::new());
        while at != to {
            let steps: Vec<(LinkId, u32)> = self.nearer(plane, at, to).collect();
            let (link, next) = pick(&steps);
            way.push(link);
            at = next;
        }
        way
    }

    /// By way of a random switch that is on a way from here to there.
    fn detour(&mut self, plane: &Plane<'_>, from: u32, to: u32, choice: u64) -> Vec<LinkId> {
        let n_switches = plane.graph.n_switches();
        let by_way_of = (0..n_switches).map(|i| ((choice + u64::from(i)) % u64::from(n_switches)) as u32);
        for middle in by_way_of.filter(|middle| ![from, to].contains(middle)) {
            self.find(plane, middle);
            let reached = self.hops(plane, middle)[from as usize] != UNREACHABLE
                && self.hops(plane, to)[middle as usize] != UNREACHABLE;
            if reached {
                let mut way = self.walk(plane, from, middle, |ways| ways[0]);
                way.extend(self.walk(plane, middle, to, |ways| ways[0]));
                return way;
            }
        }
        self.walk(plane, from, to, |ways| ways[0])
    }

    /// UGAL: the shortest way, or a detour when its load times its hops is less.
    fn least_loaded(&mut self, plane: &Plane<'_>, from: u32, to: u32, loads: &[f64]) -> Vec<LinkId> {
        let load = |link: LinkId| loads[link.0 as usize];
        let least = |ways: &[(LinkId, u32)]| {
            let least = ways.iter().reduce(|a, b| if load(b.0) < load(a.0) { b } else { a });
            *least.expect("a switch that can be reached from here")
        };
        let shortest = self.walk(plane, from, to, least);
        // Another random switch whenever the load has changed.
        let seen = load(shortest[0]).to_bits();
        let detour = self.detour(plane, from, to, hash([from.into(), to.into(), seen]));
        let weight = |way: &[LinkId]| way.len() as f64 * way.iter().map(|&link| load(link)).fold(0.0, f64::max);
        if weight(&detour) < weight(&shortest) { detour } else { shortest }
    }

    fn all_shortest(&self, plane: &Plane<'_>, from: u32, to: u32) -> Vec<Vec<LinkId>> {
        let mut ways = vec![(from, Vec::new())];
        while ways.iter().any(|(at, _)| *at != to) {
            let longer = ways.iter().flat_map(|(at, way)| {
                let step = |(link, next)| (next, [way.as_slice(), &[link]].concat());
                self.nearer_by_one(plane, *at, to).map(step).collect::<Vec<_>>()
            });
            ways = longer.take(WAYS_MAX).collect();
        }
        ways.into_iter().map(|(_, way)| way).collect()
    }

    /// All shortest ways from a switch have the same length.
    fn nearer_by_one<'a>(&'a self, plane: &'a Plane<'_>, at: u32, to: u32) -> impl Iterator<Item = (LinkId, u32)> + 'a {
        let hops = self.hops(plane, to);
        plane.out(at).filter(move |&(_, next)| u16::from(hops[next as usize]) + 1 == u16::from(hops[at as usize]))
    }
}

fn by_hash(choice: u64) -> impl Fn(&[(LinkId, u32)]) -> (LinkId, u32) {
    move |steps| steps[(hash([choice, steps[0].1.into()]) % steps.len() as u64) as usize]
}

/// The switches of one plane, without cables that are down.
struct Plane<'a> {
    fabric: &'a Fabric,
    graph: &'a Graph,
    number: u32,
    first_cable: u32,
}

impl<'a> Plane<'a> {
    fn new(fabric: &'a Fabric, number: u32) -> Self {
        let first_cable = fabric.first_of_plane(number) + 2 * fabric.plane_shape().n_hosts();
        Self { fabric, graph: fabric.graph(), number, first_cable }
    }

    fn out(&self, switch: u32) -> impl Iterator<Item = (LinkId, u32)> + '_ {
        let links = self.graph.out(switch).map(|(cable, next)| (LinkId(self.first_cable + cable), next));
        links.filter(|(link, _)| !self.fabric.is_down(*link))
    }

    /// Breadth first, backwards: both directions of a cable join the same two switches.
    fn hops_to(&self, to: u32) -> Box<[u8]> {
        let mut hops = vec![UNREACHABLE; self.graph.n_switches() as usize];
        hops[to as usize] = 0;
        let mut ring = vec![to];
        for distance in 1..UNREACHABLE {
            let mut next_ring = Vec::new();
            for &at in &ring {
                for (_, before) in self.graph.out(at) {
                    let reaches = || self.fabric.all_up() || self.out(before).any(|(_, next)| next == at);
                    if hops[before as usize] == UNREACHABLE && reaches() {
                        hops[before as usize] = distance;
                        next_ring.push(before);
                    }
                }
            }
            if next_ring.is_empty() {
                break;
            }
            ring = next_ring;
        }
        hops.into_boxed_slice()
    }
}
