//! Flows that begin later, by time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Flows and when they begin. Most are known from the start, so they are sorted once.
#[derive(Default)]
pub(super) struct Begins {
    /// The next one last.
    first: Vec<(u64, u32)>,
    later: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Begins {
    pub(super) fn new(first: Vec<(f64, u32)>) -> Self {
        // Times are never negative, so their bits are in their order.
        let mut first: Vec<(u64, u32)> = first.into_iter().map(|(time, flow)| (time.to_bits(), flow)).collect();
        first.sort_unstable_by_key(|&begin| Reverse(begin));
        Self { first, later: BinaryHeap::new() }
    }

    pub(super) fn add(&mut self, time: f64, flow: u32) {
        self.later.push(Reverse((time.to_bits(), flow)));
    }

    /// When the next flow begins; infinite if none does.
    pub(super) fn next(&self) -> f64 {
        let later = self.later.peek().map(|&Reverse(begin)| begin);
        let next = [self.first.last().copied(), later].into_iter().flatten().min();
        next.map_or(f64::INFINITY, |(time, _)| f64::from_bits(time))
    }

    /// The next flow, if it begins until then, and when.
    pub(super) fn pop_until(&mut self, until: f64) -> Option<(f64, u32)> {
        let is_due = |time: u64| f64::from_bits(time) <= until;
        let first = self.first.last().copied().filter(|&(time, _)| is_due(time));
        let later = self.later.peek().map(|&Reverse(begin)| begin).filter(|&(time, _)| is_due(time));
        let next = [first, later].into_iter().flatten().min()?;
        if first == Some(next) {
            self.first.pop();
        } else {
            self.later.pop();
        }
        Some((f64::from_bits(next.0), next.1))
    }
}
