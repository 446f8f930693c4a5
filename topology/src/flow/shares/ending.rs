//! Which flow of a link ends next.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// A flow, and how much its link has given to a unit of weight when it ends.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Ending {
    pub(super) at: f64,
    pub(super) flow: u32,
}

impl Eq for Ending {}

impl Ord for Ending {
    /// The earliest is the greatest, for the heap.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.flow.cmp(&self.flow))
    }
}

impl PartialOrd for Ending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Takes flows out of a heap that end when their link has given so much.
pub(super) fn take_until(heap: &mut BinaryHeap<Ending>, until: f64, ended: &mut Vec<u32>) {
    // Many alike are taken out at once.
    const FEW: usize = 8;
    for _ in 0..FEW {
        let Some(next) = heap.peek_mut().filter(|next| next.at <= until) else { return };
        ended.push(PeekMut::pop(next).flow);
    }
    if heap.peek().is_some_and(|next| next.at <= until) {
        let (due, later): (Vec<_>, Vec<_>) = heap.drain().partition(|ending| ending.at <= until);
        ended.extend(due.iter().map(|ending| ending.flow));
        heap.extend(later);
    }
}
