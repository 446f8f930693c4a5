//! Flows that come and go, under max-min sharing. Only what shares links, directly or through others, with a flow that
//! began or ended is shared out anew.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

/// A flow that is under way.
#[derive(Clone, Debug)]
pub(super) struct Active {
    /// What the caller calls it.
    pub(super) name: u64,
    /// Of each of the flows that it stands for.
    pub(super) remaining: f64,
    /// Links, each with how many of these flows cross it.
    path: Rc<[(u32, f64)]>,
    /// Of each of them, at the beginning.
    bytes: f64,
    rate: f64,
    /// When `remaining` held.
    since: f64,
    /// Counts rates, so that ends by an older one are known.
    version: u32,
    frozen: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Fluid {
    capacity: Vec<f64>,
    on_link: Vec<Vec<u32>>,
    slots: Vec<Option<Active>>,
    vacant: Vec<u32>,
    ends: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Links whose flows changed.
    dirty: Vec<u32>,
    seen_link: Vec<u32>,
    seen_slot: Vec<u32>,
    stamp: u32,
    versions: u32,
    left: Vec<f64>,
    weight: Vec<f64>,
    /// Bytes that each link has carried for flows that are no longer under way.
    pub(super) carried: Vec<f64>,
}

/// Events so close together are one: a few of the finest steps that times of that size have.
fn at_once(now: f64) -> f64 {
    1e-15_f64.max(4.0 * f64::EPSILON * now)
}

impl Fluid {
    pub(super) fn new(capacity: Vec<f64>) -> Self {
        let n = capacity.len();
        Self {
            on_link: vec![Vec::new(); n],
            seen_link: vec![0; n],
            left: vec![0.0; n],
            weight: vec![0.0; n],
            carried: vec![0.0; n],
            capacity,
            ..Self::default()
        }
    }

    pub(super) fn begin(&mut self, name: u64, bytes: f64, path: Rc<[(u32, f64)]>, now: f64) {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.seen_slot.push(0);
            self.slots.len() as u32 - 1
        });
        for &(link, _) in path.iter() {
            self.on_link[link as usize].push(slot);
            self.dirty.push(link);
        }
        self.versions += 1;
        let version = self.versions;
        let active = Active { name, remaining: bytes, path, bytes, rate: 0.0, since: now, version, frozen: false };
        self.slots[slot as usize] = Some(active);
    }

    /// When the next flow ends, if any does.
    pub(super) fn next_end(&mut self, now: f64) -> Option<f64> {
        self.share(now);
        while let Some(&Reverse((time, slot, version))) = self.ends.peek() {
            if self.slots[slot as usize].as_ref().is_some_and(|active| active.version == version) {
                return Some(f64::from_bits(time));
            }
            self.ends.pop();
        }
        None
    }

    /// Takes out the flows that have ended by `now`; gives their names.
    pub(super) fn take_ended(&mut self, now: f64, ended: &mut Vec<u64>) {
        let until = now + at_once(now);
        while let Some(&Reverse((time, slot, version))) = self.ends.peek() {
            if f64::from_bits(time) > until {
                break;
            }
            self.ends.pop();
            if self.slots[slot as usize].as_ref().is_some_and(|active| active.version == version) {
                let active = self.take_out(slot);
                self.count(&active, 0.0);
                ended.push(active.name);
            }
        }
    }

    fn take_out(&mut self, slot: u32) -> Active {
        let active = self.slots[slot as usize].take().expect("it is under way");
        self.vacant.push(slot);
        for &(link, _) in active.path.iter() {
            let on = &mut self.on_link[link as usize];
            let place = on.iter().position(|&other| other == slot).expect("it is on its links");
            on.swap_remove(place);
            self.dirty.push(link);
        }
        active
    }

    /// Other capacities from `now` on; gives what was under way on links over which nothing passes any more, with what
    /// each has left.
    pub(super) fn change(&mut self, capacity: &[f64], now: f64) -> Vec<(u64, f64)> {
        let mut cut: Vec<u32> = Vec::new();
        for (link, (own, &new)) in (0..).zip(self.capacity.iter_mut().zip(capacity)) {
            if *own != new {
                *own = new;
                self.dirty.push(link);
            }
            if new == 0.0 {
                cut.extend(&self.on_link[link as usize]);
            }
        }
        cut.sort_unstable();
        cut.dedup();
        let mut all = Vec::new();
        for slot in cut {
            let active = self.take_out(slot);
            let left = (active.remaining - active.rate * (now - active.since)).max(0.0);
            self.count(&active, left);
            all.push((active.name, left));
        }
        all
    }

    fn count(&mut self, active: &Active, left: f64) {
        for &(link, times) in active.path.iter() {
            self.carried[link as usize] += times * (active.bytes - left);
        }
    }

    /// Whether nothing is on its way over a link.
    pub(super) fn is_idle(&self, link: u32) -> bool {
        self.on_link[link as usize].is_empty()
    }

    /// Takes out everything; gives what each flow has left.
    pub(super) fn clear(&mut self, now: f64) -> Vec<(u64, f64)> {
        self.share(now);
        let slots: Vec<u32> =
            (0..self.slots.len() as u32).filter(|&slot| self.slots[slot as usize].is_some()).collect();
        let mut left = Vec::new();
        for slot in slots {
            let active = self.take_out(slot);
            left.push((active.name, (active.remaining - active.rate * (now - active.since)).max(0.0)));
        }
        self.dirty.clear();
        self.ends.clear();
        left
    }

    /// A flow that cannot move, if there is one.
    pub(super) fn stalled(&self) -> Option<u64> {
        self.slots.iter().flatten().map(|active| active.name).next()
    }

    /// Shares out what the changes since the last time have touched.
    fn share(&mut self, now: f64) {
        if self.dirty.is_empty() {
            return;
        }
        self.stamp += 1;
        let dirty = std::mem::take(&mut self.dirty);
        for first in dirty {
            if self.seen_link[first as usize] != self.stamp {
                let (links, slots) = self.component(first);
                self.fill(&links, &slots, now);
            }
        }
    }

    /// Links and flows that are joined with a link.
    fn component(&mut self, first: u32) -> (Vec<u32>, Vec<u32>) {
        let (mut links, mut slots) = (vec![first], Vec::new());
        self.seen_link[first as usize] = self.stamp;
        let mut next = 0;
        while next < links.len() {
            let link = links[next] as usize;
            next += 1;
            for &slot in &self.on_link[link] {
                if self.seen_slot[slot as usize] == self.stamp {
                    continue;
                }
                self.seen_slot[slot as usize] = self.stamp;
                slots.push(slot);
                let active = self.slots[slot as usize].as_ref().expect("what is on a link is under way");
                for &(other, _) in active.path.iter() {
                    if self.seen_link[other as usize] != self.stamp {
                        self.seen_link[other as usize] = self.stamp;
                        links.push(other);
                    }
                }
            }
        }
        (links, slots)
    }

    /// Progressive filling: the link that would be full first holds back its flows, and so on.
    fn fill(&mut self, links: &[u32], slots: &[u32], now: f64) {
        for &link in links {
            self.left[link as usize] = self.capacity[link as usize];
            self.weight[link as usize] = 0.0;
        }
        for &slot in slots {
            let active = self.slots[slot as usize].as_mut().expect("it is under way");
            active.frozen = false;
            for &(link, times) in active.path.iter() {
                self.weight[link as usize] += times;
            }
        }
        let fair = |left: &[f64], weight: &[f64], link: u32| (left[link as usize] / weight[link as usize]).max(0.0);
        let mut full: BinaryHeap<Reverse<(u64, u32)>> = links
            .iter()
            .filter(|&&link| self.weight[link as usize] > 0.0)
            .map(|&link| Reverse((fair(&self.left, &self.weight, link).to_bits(), link)))
            .collect();
        let mut n_left = slots.len();
        while n_left > 0 {
            let Some(Reverse((share, link))) = full.pop() else { break };
            if self.weight[link as usize] < 0.5 {
                continue;
            }
            let rate = fair(&self.left, &self.weight, link);
            if rate.to_bits() != share {
                full.push(Reverse((rate.to_bits(), link)));
                continue;
            }
            for place in 0..self.on_link[link as usize].len() {
                let slot = self.on_link[link as usize][place];
                n_left -= usize::from(self.freeze(slot, rate, now));
            }
        }
    }

    /// Gives a flow its rate, if it has none yet.
    fn freeze(&mut self, slot: u32, rate: f64, now: f64) -> bool {
        let active = self.slots[slot as usize].as_mut().expect("what is on a link is under way");
        if active.frozen {
            return false;
        }
        active.frozen = true;
        for &(link, times) in active.path.iter() {
            self.left[link as usize] -= rate * times;
            self.weight[link as usize] -= times;
        }
        if rate != active.rate {
            active.remaining -= active.rate * (now - active.since);
            (active.rate, active.since) = (rate, now);
            self.versions += 1;
            active.version = self.versions;
            if rate > 0.0 {
                let end = now + (active.remaining / rate).max(0.0);
                self.ends.push(Reverse((end.to_bits(), slot, active.version)));
            }
        }
        true
    }
}
