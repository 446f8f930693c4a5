//! Max-min fair shares that follow flows as they come and go.
//!
//! Every flow is limited by one link of its path, and all flows that a link limits grow by the level of that link times
//! their weight. The levels are right when each link is full (or limits nobody), and nobody on it is limited at a higher
//! level elsewhere (Bertsekas and Gallager, Data Networks, §6.5.2). A change makes few links wrong. These are put right
//! in the order of their levels, and make others wrong in turn, until none is; flows whose limit stays are never looked
//! at. Because the flows of a link advance alike, a flow's end is one number that stands while levels come and go: how
//! much its link will have given to a unit of weight by then.

mod ending;
mod ends;
mod refill;
mod relax;
mod shared;
mod table;

use std::borrow::Cow;
use std::collections::BinaryHeap;

use self::ending::{Ending, take_until};
use self::ends::Ends;
use self::relax::Queue;
pub(super) use self::shared::Capacity;
use self::shared::Shared;
use self::table::{Finder, Table};
use super::paths::{PathId, Paths};

/// No link has ever limited the flow.
pub(super) const NONE: u32 = u32::MAX;

/// Flows that share links now.
pub(super) struct Shares<'a> {
    paths: Cow<'a, Paths>,
    /// By flow; empty where all weigh 1.
    weights: Vec<f64>,
    /// Which link limits a flow, or did when it ended.
    limiter: Vec<u32>,
    links: Vec<Shared>,
    /// What each link gives to a unit of weight of those flows that it limits; infinite while it limits none.
    levels: Vec<f64>,
    table: Table,
    /// The flows that each link limits, the next to end first.
    own: Vec<BinaryHeap<Ending>>,
    ends: Ends,
    queue: Queue,
    /// Links whose next end must be told anew.
    touched: Vec<u32>,
    from: Finder,
    to: Finder,
    now: f64,
    /// How many flows are there, and links that they cross.
    n_there: usize,
    n_hops: usize,
    /// What the settling in progress has taken so far.
    work: usize,
    /// For tests.
    pub(super) patience: usize,
}

/// How often the cells of all flows may be looked at to follow one change. Making shares from nothing takes about 8.
pub(super) const PATIENCE: usize = 8;

/// What follows, by experience, from one link that an entering flow crosses.
const ENTERING: usize = 128;

impl<'a> Shares<'a> {
    /// Of links with these capacities; no flow is there yet. Weights are by flow, or none where all are 1.
    pub(super) fn new(capacities: impl Iterator<Item = Capacity>, paths: Cow<'a, Paths>, weights: Vec<f64>) -> Self {
        let links: Vec<Shared> = capacities.map(Shared::new).collect();
        let n = links.len();
        Self {
            levels: vec![f64::INFINITY; n],
            limiter: vec![NONE; paths.n_flows()],
            paths,
            weights,
            links,
            table: Table::new(n),
            own: vec![BinaryHeap::new(); n],
            ends: Ends::new(n),
            queue: Queue::default(),
            touched: Vec::new(),
            from: Finder::new(n),
            to: Finder::new(n),
            now: 0.0,
            n_there: 0,
            n_hops: 0,
            work: 0,
            patience: PATIENCE,
        }
    }

    /// When the next flow ends, if all goes on as it is; infinite if none does.
    pub(super) fn next_end(&mut self) -> f64 {
        self.ends.next()
    }

    /// Links that a flow crosses now.
    pub(super) fn path(&self, flow: u32) -> &[u32] {
        self.paths.of(flow)
    }

    /// Which link limits a flow, or did when it ended; [`NONE`] before it begins.
    pub(super) fn limiter(&self, flow: u32) -> u32 {
        self.limiter[flow as usize]
    }

    /// For how many seconds any flow was on a link.
    pub(super) fn busy(&self, link: u32) -> f64 {
        let state = &self.links[link as usize];
        if state.n_total == 0 { state.busy } else { state.busy + (self.now - state.busy_since) }
    }

    /// Gives links whose load may have changed since the last time, with load and capacity.
    pub(super) fn take_changed(&mut self, mut give: impl FnMut(u32, f64, f64)) {
        for link in self.queue.changed.drain(..) {
            let state = &mut self.links[link as usize];
            state.is_changed = false;
            give(link, state.load(self.levels[link as usize]), state.capacity);
        }
    }

    /// Keeps account of links whose load changes, from now on.
    pub(super) fn watch(&mut self) {
        self.queue.is_watched = true;
    }

    /// The link gives so many bytes per second from now on.
    pub(super) fn set_capacity(&mut self, link: u32, bytes_per_s: f64) {
        let state = &mut self.links[link as usize];
        state.capacity = bytes_per_s;
        self.queue.note(link, state, self.levels[link as usize]);
    }

    /// Another path, and the weight over it, for a flow that is not there.
    pub(super) fn change_path(&mut self, flow: u32, path: PathId, weight: f64) {
        self.paths.to_mut().change(flow, path);
        if let Some(known) = self.weights.get_mut(flow as usize) {
            *known = weight;
        }
    }

    /// Takes a flow out before its end. Returns the bytes that it still had, if it was there.
    pub(super) fn remove(&mut self, flow: u32) -> Option<f64> {
        let link = self.limiter[flow as usize];
        if link == NONE {
            return None;
        }
        let mut at = 0.0;
        self.own[link as usize].retain(|ending| {
            if ending.flow == flow {
                at = ending.at;
            }
            ending.flow != flow
        });
        let left = (at - self.links[link as usize].given_at(self.now, self.levels[link as usize])).max(0.0)
            * self.weight(flow);
        self.take_out(link, &[flow]);
        self.limiter[flow as usize] = NONE;
        Some(left)
    }

    #[inline]
    fn weight(&self, flow: u32) -> f64 {
        self.weights.get(flow as usize).copied().unwrap_or(1.0)
    }

    /// Takes out the flows that end until `now + at_once`, as of `now`.
    pub(super) fn end_flows(&mut self, now: f64, at_once: f64, ended: &mut Vec<u32>) {
        self.now = now;
        let mut links = Vec::new();
        self.ends.until(now + at_once, &mut links);
        let mut by_link = Vec::with_capacity(links.len());
        for link in links {
            let first = ended.len();
            let (state, level) = (&self.links[link as usize], self.levels[link as usize]);
            let heap = &mut self.own[link as usize];
            let Some(&Ending { at: due, .. }) = heap.peek() else { continue };
            take_until(heap, due.max(state.given_at(now, level) + level * at_once), ended);
            by_link.push((link, first..ended.len()));
        }
        if ended.len() == self.n_there {
            self.clear();
        } else {
            by_link.into_iter().for_each(|(link, flows)| self.take_out(link, &ended[flows]));
        }
    }

    /// All flows have ended.
    fn clear(&mut self) {
        self.table.clear();
        (self.n_there, self.n_hops) = (0, 0);
        for (link, state) in (0..).zip(&mut self.links).filter(|(_, state)| state.n_total > 0) {
            self.queue.saw(link, state);
            state.busy += self.now - state.busy_since;
            (state.own, state.total, state.limited, state.given) = (0.0, 0.0, 0.0, 0.0);
            (state.n_own, state.n_total) = (0, 0);
            self.levels[link as usize] = f64::INFINITY;
            self.ends.set(link, f64::INFINITY);
        }
    }

    /// Flows that this link limits are there no more.
    fn take_out(&mut self, link: u32, flows: &[u32]) {
        self.n_there -= flows.len();
        self.table.open(&mut self.from, link);
        let level = self.levels[link as usize];
        self.links[link as usize].advance(self.now, level);
        for &flow in flows {
            let weight = self.weight(flow);
            for &hop in self.paths.of(flow) {
                let crossed = &mut self.links[hop as usize];
                crossed.n_total -= 1;
                self.n_hops -= 1;
                crossed.total -= weight;
                if hop == link {
                    crossed.lose(weight);
                } else {
                    self.table.take(&self.from, hop, weight);
                    crossed.limited -= weight * level;
                }
                if crossed.n_total == 0 {
                    crossed.busy += self.now - crossed.busy_since;
                    // Without what rounding has left.
                    (crossed.total, crossed.limited) = (0.0, 0.0);
                }
                if hop != link {
                    self.queue.note(hop, crossed, level);
                }
            }
        }
        self.table.remove_empty(link);
        self.after_loss(link);
    }

    /// The flows that a link limits have become fewer.
    fn after_loss(&mut self, link: u32) {
        let state = &mut self.links[link as usize];
        if state.n_own == 0 {
            (self.levels[link as usize], state.given) = (f64::INFINITY, 0.0);
        } else {
            self.queue.note(link, state, 0.0);
        }
        self.touch(link);
    }

    /// How much work it may take to follow a change, before all shares are made from nothing instead.
    fn most_work(&self) -> usize {
        self.patience * (self.n_hops + self.links.len())
    }

    /// Flows that begin, each with its bytes.
    pub(super) fn enter(&mut self, flows: &[(u32, f64)]) {
        let n_before = self.n_hops;
        self.n_there += flows.len();
        for &(flow, _) in flows {
            let weight = self.weight(flow);
            for &hop in self.paths.of(flow) {
                let crossed = &mut self.links[hop as usize];
                if crossed.n_total == 0 {
                    crossed.busy_since = self.now;
                }
                crossed.n_total += 1;
                crossed.total += weight;
                self.n_hops += 1;
            }
        }
        if ENTERING * (self.n_hops - n_before) > self.most_work() {
            self.refill(flows);
        } else if !flows.is_empty() {
            self.enter_few(flows);
        }
    }

    fn enter_few(&mut self, flows: &[(u32, f64)]) {
        let mut coming = std::mem::take(&mut self.queue.coming);
        coming.resize(self.links.len(), 0.0);
        for &(flow, _) in flows {
            self.paths.of(flow).iter().for_each(|&hop| coming[hop as usize] += self.weight(flow));
        }
        let mut by_limiter: Vec<(u32, u32)> = Vec::with_capacity(flows.len());
        for (place, &(flow, _)) in (0..).zip(flows) {
            by_limiter.push((self.likely_limiter(flow, &coming), place));
        }
        by_limiter.sort_unstable();
        for same in by_limiter.chunk_by(|a, b| a.0 == b.0) {
            self.put_in(same[0].0, same.iter().map(|&(_, place)| flows[place as usize]));
        }
        for &(flow, _) in flows {
            self.paths.of(flow).iter().for_each(|&hop| coming[hop as usize] = 0.0);
        }
        self.queue.coming = coming;
    }

    /// The link of a path that would give least if all that come were limited by it; a guess to begin with.
    fn likely_limiter(&self, flow: u32, coming: &[f64]) -> u32 {
        let share = |link: u32| {
            let state = &self.links[link as usize];
            state.level_for(state.limited, state.own + coming[link as usize])
        };
        let path = self.paths.of(flow);
        let least = path.iter().map(|&link| (share(link), link)).min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        least.expect("a flow without a path shares nothing").1
    }

    /// Flows enter, and this link limits them to begin with.
    fn put_in(&mut self, link: u32, flows: impl Iterator<Item = (u32, f64)> + Clone) {
        self.table.open(&mut self.to, link);
        let weights = flows.clone().map(|(flow, _)| self.weight(flow)).sum::<f64>();
        let state = &mut self.links[link as usize];
        let level = &mut self.levels[link as usize];
        state.advance(self.now, *level);
        if state.n_own == 0 {
            *level = state.level_for(state.limited, weights);
        }
        let (level, given) = (*level, state.given);
        let mut entered = Vec::new();
        for (flow, bytes) in flows {
            let weight = self.weight(flow);
            self.limiter[flow as usize] = link;
            entered.push(Ending { at: given + bytes / weight, flow });
            for &hop in self.paths.of(flow) {
                let crossed = &mut self.links[hop as usize];
                if hop == link {
                    crossed.gain(weight);
                    continue;
                }
                self.table.add(&mut self.to, hop, weight);
                crossed.limited += weight * level;
                self.queue.note(hop, crossed, level);
            }
        }
        self.own[link as usize].append(&mut BinaryHeap::from(entered));
        self.queue.note(link, &mut self.links[link as usize], level);
        self.touch(link);
    }

    fn touch(&mut self, link: u32) {
        let state = &mut self.links[link as usize];
        if !state.is_touched {
            state.is_touched = true;
            self.touched.push(link);
        }
    }

    /// Tells the next ends of all links where something has changed.
    fn tell_ends(&mut self) {
        for link in self.touched.drain(..) {
            let state = &mut self.links[link as usize];
            state.is_touched = false;
            self.queue.saw(link, state);
            let level = self.levels[link as usize];
            state.advance(self.now, level);
            let next = self.own[link as usize].peek();
            // At level 0 nothing ends.
            let time = next.map_or(f64::INFINITY, |next| {
                let seconds = ((next.at - state.given) / level).max(0.0);
                if level > 0.0 { self.now + seconds } else { f64::INFINITY }
            });
            self.ends.set(link, time);
        }
    }
}
