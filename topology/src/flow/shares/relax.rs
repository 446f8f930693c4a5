//! Puts wrong levels right, the lowest first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{Ending, Shared, Shares};

/// Levels closer together than this, relatively, are one; what is passed over does not add up, since every level is
/// compared with what its neighbours know of it.
pub(super) const SAME: f64 = 1e-13;
/// A link that carries so much of its capacity is looked at in full; running sums are that exact at least.
const NEARLY_FULL: f64 = 1.0 - 1e-9;

/// What it takes to look at a link, in the time that one cell of its row takes.
const STEP: usize = 16;

/// Links whose level may be wrong, by what it is likely to become.
#[derive(Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Wrong>,
    /// Weights by link of flows that are about to enter; all 0 in between.
    pub(super) coming: Vec<f64>,
    /// Links whose load may have changed, if anybody wants to know.
    pub(super) changed: Vec<u32>,
    pub(super) is_watched: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) struct Wrong {
    pub(super) level: f64,
    pub(super) link: u32,
}

impl Eq for Wrong {}

impl Ord for Wrong {
    /// The lowest is the greatest, for the heap.
    fn cmp(&self, other: &Self) -> Ordering {
        other.level.total_cmp(&self.level).then(other.link.cmp(&self.link))
    }
}

impl PartialOrd for Wrong {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Queue {
    /// Something on the link has changed, and flows on it are limited at `other` now: its level must be looked at, unless
    /// it limits nobody and has enough.
    #[inline]
    pub(super) fn note(&mut self, link: u32, state: &mut Shared, other: f64) {
        self.saw(link, state);
        let (limited, weight) = if state.n_own > 0 {
            (state.limited, state.own)
        } else if state.limited > state.capacity * NEARLY_FULL || other > state.ceiling {
            (0.0, state.total)
        } else {
            return;
        };
        // Most are there already, at much the same level: no division for those.
        if !state.is_wrong || state.capacity - limited < state.queued * NEARLY_FULL * weight {
            let level = state.level_for(limited, weight);
            (state.is_wrong, state.queued) = (true, level);
            self.heap.push(Wrong { level, link });
        }
    }

    /// The load of the link may have changed.
    pub(super) fn saw(&mut self, link: u32, state: &mut Shared) {
        if self.is_watched && !state.is_changed {
            state.is_changed = true;
            self.changed.push(link);
        }
    }

    /// All is right.
    pub(super) fn clear(&mut self, links: &mut [Shared]) {
        self.heap.drain().for_each(|wrong| links[wrong.link as usize].is_wrong = false);
    }

    fn next_level(&self) -> f64 {
        self.heap.peek().map_or(f64::INFINITY, |next| next.level)
    }
}

/// What a link gives to a unit of weight, and whether some flows are limited at more elsewhere.
struct Found {
    level: f64,
    some_above: bool,
}

impl Shares<'_> {
    /// Puts all levels right: from what has changed, or from nothing where that has become the longer way.
    pub(in super::super) fn settle(&mut self) {
        self.work = 0;
        while let Some(Wrong { level, link }) = self.queue.heap.pop() {
            if !self.links[link as usize].is_wrong {
                continue;
            }
            let found = self.level_of(link);
            self.work += STEP + self.table.row(link).len();
            if self.work > self.most_work() {
                self.links[link as usize].is_wrong = false;
                self.refill(&[]);
                break;
            }
            // Others come first if it has risen meanwhile.
            if found.level > level && found.level > self.queue.next_level() && found.level.is_finite() {
                self.links[link as usize].queued = found.level;
                self.queue.heap.push(Wrong { level: found.level, link });
                continue;
            }
            self.links[link as usize].is_wrong = false;
            self.set_level(link, found.level);
            if found.some_above {
                self.take_over(link);
            }
        }
        self.tell_ends();
    }

    /// The level at which the link is full, as things stand.
    fn level_of(&mut self, link: u32) -> Found {
        let (row, levels) = (self.table.row(link), &self.levels);
        let (mut limited, mut highest) = (0.0, 0.0_f64);
        for cell in row {
            let level = levels[cell.limiter as usize];
            limited += cell.weight * level;
            highest = highest.max(level);
        }
        let state = &mut self.links[link as usize];
        state.limited = limited;
        // What would be right if all the others had enough elsewhere is never too much; nor is the same for everybody.
        let mut level = state.level_for(0.0, state.total);
        if state.n_own > 0 {
            level = level.max(state.level_for(limited, state.own));
            if highest <= level * (1.0 + SAME) {
                return Found { level, some_above: false };
            }
        } else if limited <= state.capacity * (1.0 + SAME) && highest <= state.ceiling * (1.0 + SAME) {
            return Found { level: f64::INFINITY, some_above: false };
        }
        // From there upwards: those who are limited at less leave the more to the others.
        let mut n_below = usize::MAX;
        loop {
            let (mut limited, mut weight, mut n) = (0.0, state.own, 0);
            for cell in row {
                let other = levels[cell.limiter as usize];
                if other <= level * (1.0 + SAME) {
                    limited += cell.weight * other;
                    n += 1;
                } else {
                    weight += cell.weight;
                }
            }
            if weight <= 0.0 {
                return Found { level: f64::INFINITY, some_above: false };
            }
            level = level.max(state.level_for(limited, weight));
            if n == n_below {
                return Found { level, some_above: n < row.len() };
            }
            n_below = n;
        }
    }

    fn set_level(&mut self, link: u32, level: f64) {
        let old = self.levels[link as usize];
        if (level - old).abs() <= SAME * level || level == old {
            return;
        }
        self.links[link as usize].advance(self.now, old);
        self.levels[link as usize] = level;
        if self.links[link as usize].n_own == 0 {
            // Nobody knows of it; those whom it will limit come next.
            return;
        }
        self.touch(link);
        for (crossed, weight) in self.table.column(link) {
            let state = &mut self.links[crossed as usize];
            state.limited += weight * (level - old);
            self.queue.note(crossed, state, level);
        }
    }

    /// The link limits from now on whoever is limited at more elsewhere.
    fn take_over(&mut self, link: u32) {
        let level = self.levels[link as usize];
        let is_above = |limiter: u32| self.levels[limiter as usize] > level * (1.0 + SAME);
        let above: Vec<u32> = self.table.row(link).iter().map(|cell| cell.limiter).filter(|&l| is_above(l)).collect();
        self.touch(link);
        for limiter in above {
            self.move_flows(limiter, link);
        }
    }

    /// Flows that cross both links are now limited by the second.
    fn move_flows(&mut self, from: u32, to: u32) {
        let mut moved: Vec<Ending> = Vec::new();
        let paths = &self.paths;
        self.work += self.own[from as usize].len();
        self.own[from as usize].retain(|ending| {
            let stays = !paths.of(ending.flow).contains(&to);
            if !stays {
                moved.push(*ending);
            }
            stays
        });
        self.table.open(&mut self.from, from);
        self.table.open(&mut self.to, to);
        let (old_level, new_level) = (self.levels[from as usize], self.levels[to as usize]);
        self.links[from as usize].advance(self.now, old_level);
        self.links[to as usize].advance(self.now, new_level);
        let (old_given, new_given) = (self.links[from as usize].given, self.links[to as usize].given);
        for ending in &mut moved {
            ending.at = new_given + (ending.at - old_given);
            let weight = self.weight(ending.flow);
            self.limiter[ending.flow as usize] = to;
            for &hop in self.paths.of(ending.flow) {
                let crossed = &mut self.links[hop as usize];
                if hop != from {
                    self.table.take(&self.from, hop, weight);
                    crossed.limited -= weight * old_level;
                } else {
                    crossed.lose(weight);
                }
                if hop != to {
                    self.table.add(&mut self.to, hop, weight);
                    crossed.limited += weight * new_level;
                } else {
                    crossed.gain(weight);
                }
                if hop != to && hop != from {
                    self.queue.note(hop, crossed, new_level);
                }
            }
        }
        self.own[to as usize].extend(moved);
        self.table.remove_empty(from);
        self.after_loss(from);
    }
}
