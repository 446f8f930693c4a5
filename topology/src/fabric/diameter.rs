//! How far apart switches are.

use std::collections::HashMap;

use super::point::switch_of_host;
use super::shape::PlaneShape;
use super::{Fabric, Point};

/// A Dragonfly of more switches than this is not searched but known to have diameter 3.
const SEARCHED_MAX: u32 = 4096;

impl Fabric {
    /// Cables between the two switches with hosts that are farthest apart, on any plane; none when some of one plane cannot
    /// reach each other, or there is no network.
    pub fn diameter(&self) -> Option<u32> {
        let of_planes = (0..self.n_planes()).map(|plane| {
            let whole = self.links_of_plane(plane).all(|link| !self.is_down(link));
            match (whole, self.plane_shape()) {
                (true, PlaneShape::Tree2(tree)) => Some(if tree.leaves.count() > 1 { 2 } else { 0 }),
                (true, PlaneShape::Tree3(tree)) if tree.pods() > 1 => Some(4),
                (true, PlaneShape::Tree3(tree)) => Some(if tree.leaves.count() > 1 { 2 } else { 0 }),
                (true, PlaneShape::Dragonfly(fly)) if fly.n_switches() > SEARCHED_MAX => Some(3),
                _ => self.searched_diameter(plane),
            }
        });
        // Planes that are whole are alike.
        if self.all_up() { of_planes.take(1).next()? } else { of_planes.collect::<Option<Vec<_>>>()?.into_iter().max() }
    }

    /// Breadth first from every switch with hosts.
    fn searched_diameter(&self, plane: u32) -> Option<u32> {
        let mut numbers: HashMap<Point, usize> = HashMap::new();
        let mut next: Vec<Vec<usize>> = Vec::new();
        let mut number = |point: Point, next: &mut Vec<Vec<usize>>| {
            *numbers.entry(point).or_insert_with(|| {
                next.push(Vec::new());
                next.len() - 1
            })
        };
        let shape = self.plane_shape();
        let mut starts = Vec::new();
        for link in self.links_of_plane(plane).filter(|&link| !self.is_down(link)) {
            match self.ends(link) {
                (from @ Point::Switch(_), to @ Point::Switch(_)) => {
                    let (from, to) = (number(from, &mut next), number(to, &mut next));
                    next[from].push(to);
                }
                (Point::Port { .. }, leaf) => starts.push(number(leaf, &mut next)),
                _ => (),
            }
        }
        starts.sort_unstable();
        starts.dedup();
        let with_hosts = (0..shape.n_hosts()).map(|host| switch_of_host(shape, host)).max().map_or(0, |last| last + 1);
        // A switch whose hosts are all cut off is a switch that cannot be reached.
        if matches!(shape, PlaneShape::Tree2(_) | PlaneShape::Tree3(_)) && (starts.len() as u32) < with_hosts {
            return None;
        }
        let farthest = starts.iter().map(|&start| eccentricity(start, &starts, &next));
        farthest.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

/// Hops to the farthest of `ends`; none when one cannot be reached.
fn eccentricity(start: usize, ends: &[usize], next: &[Vec<usize>]) -> Option<u32> {
    let mut hops = vec![None; next.len()];
    hops[start] = Some(0);
    let mut ring = vec![start];
    for distance in 1.. {
        let mut next_ring = Vec::new();
        for &at in &ring {
            for &to in &next[at] {
                if hops[to].is_none() {
                    hops[to] = Some(distance);
                    next_ring.push(to);
                }
            }
        }
        if next_ring.is_empty() {
            break;
        }
        ring = next_ring;
    }
    ends.iter().map(|&end| hops[end]).try_fold(0, |most, hops| Some(most.max(hops?)))
}
