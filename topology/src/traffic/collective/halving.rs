//! All-reduce by recursive halving and doubling (Rabenseifner, 2004).

use crate::EndpointId;
use crate::traffic::{Frontier, Traffic};

/// Partners at distance n/2, n/4, … swap halves of what is left, then double it back. A rank sends 2 (n - 1) / n of
/// its buffer in 2 log2(n) steps.
///
/// # Panics
/// When the number of ranks is no power of two.
pub fn halving_all_reduce(traffic: &mut Traffic, ranks: &[EndpointId], bytes: f64, after: Frontier) -> Frontier {
    let n = ranks.len();
    assert!(n.is_power_of_two(), "halving needs a power of two, not {n} ranks");
    let distances: Vec<usize> = (0..n.ilog2()).rev().map(|k| 1 << k).collect();
    let share = |distance: usize| bytes * distance as f64 / n as f64;
    let mut at = after;
    for &distance in distances.iter().chain(distances.iter().rev()) {
        let mut next = Frontier::start(n);
        for rank in 0..n {
            let to = rank ^ distance;
            let message = traffic.send(ranks[rank], ranks[to], share(distance), at.of(rank));
            next.add(rank, message);
            next.add(to, message);
        }
        at = next;
    }
    at
}
