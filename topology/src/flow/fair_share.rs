//! Max-min fairness: all flows grow alike, each by its weight, until a link is full; those that cross it stay as they
//! are, and the others grow on (progressive filling; Bertsekas and Gallager, Data Networks, §6.5.2).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::problem::LinkId;

/// Flows that share links now. Flows are numbered as their caller likes; paths are given once.
pub(super) struct Shares {
    flows: Vec<Sharer>,
    links: Vec<Shared>,
    /// Links of all flows, one flow after the other.
    hops: Vec<u32>,
    /// Where a flow stands among those of each of its links; aligned with `hops`.
    places: Vec<u32>,
    /// Flows on each link: (flow, its hop).
    members: Vec<Vec<(u32, u32)>>,
    /// Flows that are there.
    n_there: usize,
    filling: u32,
    heap: BinaryHeap<Level>,
}

/// What a filling reads and writes of a flow, side by side in memory.
struct Sharer {
    weight: f64,
    /// Bytes per second, while it is there.
    rate: f64,
    /// Its links: `hops[first_hop..end_hop]`.
    first_hop: u32,
    end_hop: u32,
    /// The last filling in which it was settled.
    settled: u32,
}

/// Likewise of a link: what is left of it, and the weights and flows that still grow on it.
struct Shared {
    left: f64,
    growing: f64,
    n_growing: u32,
    capacity: f64,
    /// Weights of all flows on it.
    total: f64,
}

/// At which share of a unit of weight a link is full.
#[derive(Clone, Copy, PartialEq)]
struct Level {
    share: f64,
    link: u32,
}

impl Eq for Level {}

impl Ord for Level {
    /// The lowest is the greatest, for the heap.
    fn cmp(&self, other: &Self) -> Ordering {
        other.share.total_cmp(&self.share).then(other.link.cmp(&self.link))
    }
}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Shares {
    /// Of links with these capacities and flows with these paths and weights; no flow is there yet.
    pub(super) fn new<'a>(capacity: Vec<f64>, paths: impl Iterator<Item = &'a [LinkId]>, weight: Vec<f64>) -> Self {
        let mut hops: Vec<u32> = Vec::new();
        let flow = |(path, weight): (&[LinkId], f64)| {
            let first_hop = hops.len() as u32;
            hops.extend(path.iter().map(|link| link.0));
            Sharer { weight, rate: 0.0, first_hop, end_hop: hops.len() as u32, settled: 0 }
        };
        let flows = paths.zip(weight).map(flow).collect();
        let link = |capacity| Shared { left: 0.0, growing: 0.0, n_growing: 0, capacity, total: 0.0 };
        Self {
            flows,
            members: vec![Vec::new(); capacity.len()],
            links: capacity.into_iter().map(link).collect(),
            places: vec![0; hops.len()],
            hops,
            n_there: 0,
            filling: 0,
            heap: BinaryHeap::new(),
        }
    }

    /// Bytes per second of a flow that is there.
    pub(super) fn rate(&self, flow: u32) -> f64 {
        self.flows[flow as usize].rate
    }

    fn hops_of(&self, flow: u32) -> std::ops::Range<usize> {
        let flow = &self.flows[flow as usize];
        flow.first_hop as usize..flow.end_hop as usize
    }

    /// A flow takes part from the next filling on.
    pub(super) fn enter(&mut self, flow: u32) {
        self.n_there += 1;
        for hop in self.hops_of(flow) {
            let members = &mut self.members[self.hops[hop] as usize];
            self.places[hop] = members.len() as u32;
            members.push((flow, hop as u32));
            self.links[self.hops[hop] as usize].total += self.flows[flow as usize].weight;
        }
    }

    /// A flow takes part no more.
    pub(super) fn leave(&mut self, flow: u32) {
        self.n_there -= 1;
        for hop in self.hops_of(flow) {
            let members = &mut self.members[self.hops[hop] as usize];
            let place = self.places[hop] as usize;
            members.swap_remove(place);
            if let Some(&(_, moved)) = members.get(place) {
                self.places[moved as usize] = place as u32;
            }
            let link = &mut self.links[self.hops[hop] as usize];
            link.total = if members.is_empty() { 0.0 } else { link.total - self.flows[flow as usize].weight };
        }
    }

    /// Gives every flow that is there its rate.
    pub(super) fn fill(&mut self) {
        self.filling += 1;
        let mut levels = std::mem::take(&mut self.heap).into_vec();
        levels.clear();
        for (number, (link, members)) in (0..).zip(self.links.iter_mut().zip(&self.members)) {
            if !members.is_empty() {
                link.left = link.capacity;
                link.n_growing = members.len() as u32;
                link.growing = link.total;
                levels.push(Level { share: link.left / link.growing, link: number });
            }
        }
        self.heap = BinaryHeap::from(levels);
        let mut n_growing = self.n_there;
        while n_growing > 0 {
            let Some(level) = self.heap.pop() else { return };
            let link = &self.links[level.link as usize];
            if link.n_growing == 0 {
                continue;
            }
            // Levels only rise while others are settled, so what was true when it was pushed is a lower bound.
            let share = link.left.max(0.0) / link.growing;
            match self.heap.peek() {
                Some(next) if share > next.share => self.heap.push(Level { share, link: level.link }),
                _ => n_growing -= self.settle(level.link as usize, share),
            }
        }
    }

    /// The link is full: all that still grow on it, and are counted, stay at `share`.
    fn settle(&mut self, full: usize, share: f64) -> usize {
        let mut n_settled = 0;
        for &(flow, _) in &self.members[full] {
            let flow = &mut self.flows[flow as usize];
            if flow.settled == self.filling {
                continue;
            }
            flow.settled = self.filling;
            flow.rate = share * flow.weight;
            n_settled += 1;
            for &crossed in &self.hops[flow.first_hop as usize..flow.end_hop as usize] {
                // Nothing is left of the full link, and nobody asks.
                if crossed as usize != full {
                    let crossed = &mut self.links[crossed as usize];
                    crossed.left -= flow.rate;
                    crossed.growing -= flow.weight;
                    crossed.n_growing -= 1;
                }
            }
        }
        self.links[full].n_growing = 0;
        n_settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator, so that every run draws the same.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }
    }

    struct Drawn {
        capacity: Vec<f64>,
        paths: Vec<Vec<LinkId>>,
        weight: Vec<f64>,
    }

    fn draw(seed: u64) -> Drawn {
        let mut chance = Chance(seed);
        let n_links = 1 + chance.below(12);
        let capacity = (0..n_links).map(|_| (1 + chance.below(50)) as f64).collect();
        let n_flows = 1 + chance.below(40);
        let mut paths = Vec::new();
        for _ in 0..n_flows {
            let mut path: Vec<LinkId> = (0..=chance.below(4)).map(|_| LinkId(chance.below(n_links) as u32)).collect();
            path.sort_unstable();
            path.dedup();
            paths.push(path);
        }
        let weight = paths.iter().map(|_| (1 + chance.below(4)) as f64).collect();
        Drawn { capacity, paths, weight }
    }

    fn filled(drawn: &Drawn, there: impl Fn(usize) -> bool) -> Shares {
        let paths = drawn.paths.iter().map(Vec::as_slice);
        let mut shares = Shares::new(drawn.capacity.clone(), paths, drawn.weight.clone());
        (0..drawn.paths.len()).filter(|&flow| there(flow)).for_each(|flow| shares.enter(flow as u32));
        shares.fill();
        shares
    }

    #[test]
    fn no_link_carries_more_than_it_can_and_every_flow_is_held_back_by_a_full_one() {
        for seed in 0..500 {
            let drawn = draw(seed);
            let shares = filled(&drawn, |_| true);
            let paths = &drawn.paths;
            let flows_on =
                |link: usize| (0..paths.len()).filter(move |&flow| paths[flow].contains(&LinkId(link as u32)));
            let load = |link: usize| flows_on(link).map(|flow| shares.rate(flow as u32)).sum::<f64>();
            let level = |flow: usize| shares.rate(flow as u32) / drawn.weight[flow];
            for (link, capacity) in drawn.capacity.iter().enumerate() {
                assert!(load(link) <= capacity * (1.0 + 1e-12), "seed {seed}: link {link}");
            }
            for (flow, path) in paths.iter().enumerate() {
                let holds_back = |link: &LinkId| {
                    let link = link.0 as usize;
                    let is_full = load(link) >= drawn.capacity[link] * (1.0 - 1e-12);
                    is_full && flows_on(link).all(|other| level(other) <= level(flow) * (1.0 + 1e-9))
                };
                assert!(path.iter().any(holds_back), "seed {seed}: nothing holds flow {flow} back");
            }
        }
    }

    #[test]
    fn flows_that_left_are_as_if_they_had_never_been_there() {
        for seed in 0..200 {
            let drawn = draw(seed);
            let stays = |flow: usize| !flow.is_multiple_of(3);
            let expected = filled(&drawn, stays);
            let mut shares = filled(&drawn, |_| true);
            (0..drawn.paths.len()).filter(|&flow| !stays(flow)).for_each(|flow| shares.leave(flow as u32));
            shares.fill();
            for flow in (0..drawn.paths.len()).filter(|&flow| stays(flow)) {
                let (a, b) = (shares.rate(flow as u32), expected.rate(flow as u32));
                assert!((a - b).abs() <= 1e-12 * b, "seed {seed}: flow {flow}: {a}, {b}");
            }
        }
    }
}
