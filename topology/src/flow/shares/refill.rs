//! All shares from nothing, where so much changes at once that following it would take longer: all flows grow alike,
//! each by its weight, until a link is full; those that cross it stay as they are, and the others grow on.

use std::collections::BinaryHeap;

use super::relax::{SAME, Wrong};
use super::{Ending, NONE, Shared, Shares};

/// Flows of each link, one link after the other.
struct Members {
    starts: Vec<u32>,
    flows: Vec<u32>,
}

impl Members {
    fn of(&self, link: u32) -> std::ops::Range<usize> {
        self.starts[link as usize] as usize..self.starts[link as usize + 1] as usize
    }
}

/// What is left of a link, and the weight and number of flows that grow on it.
struct Filling {
    left: f64,
    growing: f64,
    n_growing: u32,
    ceiling: f64,
}

impl Filling {
    fn level(&self) -> f64 {
        (self.left.max(0.0) / self.growing).min(self.ceiling)
    }
}

impl Shares<'_> {
    /// Gives every flow that is there, and those that `enter` with their bytes, its limit.
    pub(super) fn refill(&mut self, entering: &[(u32, f64)]) {
        let flows = self.take_all(entering);
        let members = self.members(&flows);
        // What each still needs, by flow; those that are not there are never asked for.
        let mut needs = vec![0.0; self.limiter.len()];
        flows.iter().for_each(|ending| needs[ending.flow as usize] = ending.at);
        self.fill(&members, &needs, flows.len());
        self.queue.clear(&mut self.links);
        (0..self.links.len() as u32).for_each(|link| self.touch(link));
    }

    /// Takes all flows out, each with what it still needs of its link per unit of weight.
    fn take_all(&mut self, entering: &[(u32, f64)]) -> Vec<Ending> {
        let mut flows = Vec::new();
        for ((link, heap), state) in (0_u32..).zip(&mut self.own).zip(&mut self.links) {
            let given = state.given_at(self.now, self.levels[link as usize]);
            self.levels[link as usize] = f64::INFINITY;
            flows.extend(heap.drain().map(|Ending { at, flow }| Ending { at: at - given, flow }));
            self.queue.saw(link, state);
            (state.own, state.n_own) = (0.0, 0);
            (state.given, state.since, state.limited) = (0.0, self.now, 0.0);
        }
        flows.extend(entering.iter().map(|&(flow, bytes)| Ending { at: bytes / self.weight(flow), flow }));
        flows.iter().for_each(|ending| self.limiter[ending.flow as usize] = NONE);
        self.table.clear();
        flows
    }

    fn members(&self, flows: &[Ending]) -> Members {
        let mut starts = vec![0_u32; self.links.len() + 1];
        let hops = || flows.iter().flat_map(|ending| self.paths.of(ending.flow).iter().map(|&hop| (hop, ending.flow)));
        hops().for_each(|(hop, _)| starts[hop as usize + 1] += 1);
        for link in 0..self.links.len() {
            starts[link + 1] += starts[link];
        }
        let mut next = starts.clone();
        let mut members = vec![0; starts[self.links.len()] as usize];
        for (hop, flow) in hops() {
            members[next[hop as usize] as usize] = flow;
            next[hop as usize] += 1;
        }
        Members { starts, flows: members }
    }

    fn fill(&mut self, members: &Members, needs: &[f64], mut n_growing: usize) {
        let filling = |(link, state): (u32, &Shared)| Filling {
            left: state.capacity,
            growing: state.total,
            n_growing: members.of(link).len() as u32,
            ceiling: state.ceiling,
        };
        let mut fillings: Vec<Filling> = (0..).zip(&self.links).map(filling).collect();
        let busy = (0..).zip(&fillings).filter(|(_, filling)| filling.n_growing > 0);
        let mut heap: BinaryHeap<Wrong> = busy.map(|(link, filling)| Wrong { level: filling.level(), link }).collect();
        let mut last = 0.0;
        while n_growing > 0 {
            let Some(Wrong { link, .. }) = heap.pop() else { return };
            let filling = &fillings[link as usize];
            if filling.n_growing == 0 {
                continue;
            }
            // Levels only rise while others are settled, so what was true when it was pushed is a lower bound.
            let level = filling.level();
            match heap.peek() {
                Some(next) if level > next.level => heap.push(Wrong { level, link }),
                _ => {
                    last = self.exact_level(link, last);
                    self.levels[link as usize] = last;
                    n_growing -= self.limit(link, &members.flows[members.of(link)], needs, &mut fillings);
                }
            }
        }
    }

    /// From the table, where less is rounded than in running sums; as the last one where they are the same.
    fn exact_level(&self, link: u32, last: f64) -> f64 {
        let state = &self.links[link as usize];
        let (mut limited, mut growing) = (0.0, state.total);
        for cell in self.table.row(link) {
            limited += cell.weight * self.levels[cell.limiter as usize];
            growing -= cell.weight;
        }
        let level = state.level_for(limited, growing);
        if (level - last).abs() <= SAME * level { last } else { level }
    }

    /// The link is full: it limits all of its flows that nothing limits yet. Returns how many.
    fn limit(&mut self, link: u32, flows: &[u32], needs: &[f64], fillings: &mut [Filling]) -> usize {
        let level = self.levels[link as usize];
        self.table.open(&mut self.to, link);
        let mut endings = Vec::new();
        for &flow in flows {
            // A flow that crosses the link twice is there twice.
            if self.limiter[flow as usize] != NONE {
                continue;
            }
            self.limiter[flow as usize] = link;
            endings.push(Ending { at: needs[flow as usize], flow });
            let weight = self.weight(flow);
            for &hop in self.paths.of(flow) {
                if hop == link {
                    self.links[hop as usize].gain(weight);
                    continue;
                }
                self.table.add(&mut self.to, hop, weight);
                self.links[hop as usize].limited += level * weight;
                let filling = &mut fillings[hop as usize];
                filling.left -= level * weight;
                filling.growing -= weight;
                filling.n_growing -= 1;
            }
        }
        fillings[link as usize].n_growing = 0;
        let n = endings.len();
        self.own[link as usize] = BinaryHeap::from(endings);
        n
    }
}
