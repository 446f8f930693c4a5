//! Ring collectives (Patarasuk and Yuan, 2009): every rank sends to the next one, a chunk a step, and goes on when it
//! has sent and received. A rank sends (n - 1) / n of its buffer in each half.

use crate::EndpointId;
use crate::traffic::{Frontier, Traffic};

/// Every rank ends with its chunk of the sum.
pub fn ring_reduce_scatter(traffic: &mut Traffic, ranks: &[EndpointId], bytes: f64, after: Frontier) -> Frontier {
    steps(traffic, ranks, bytes, ranks.len().saturating_sub(1), after)
}

/// Every rank begins with its chunk and ends with all chunks.
pub fn ring_all_gather(traffic: &mut Traffic, ranks: &[EndpointId], bytes: f64, after: Frontier) -> Frontier {
    steps(traffic, ranks, bytes, ranks.len().saturating_sub(1), after)
}

/// Reduce-scatter and then all-gather: 2 (n - 1) / n of the buffer from every rank.
pub fn ring_all_reduce(traffic: &mut Traffic, ranks: &[EndpointId], bytes: f64, after: Frontier) -> Frontier {
    let scattered = ring_reduce_scatter(traffic, ranks, bytes, after);
    ring_all_gather(traffic, ranks, bytes, scattered)
}

fn steps(traffic: &mut Traffic, ranks: &[EndpointId], bytes: f64, n_steps: usize, after: Frontier) -> Frontier {
    let n = ranks.len();
    let mut at = after;
    for _ in 0..n_steps {
        let mut next = Frontier::start(n);
        for rank in 0..n {
            let to = (rank + 1) % n;
            let message = traffic.send(ranks[rank], ranks[to], bytes / n as f64, at.of(rank));
            next.add(rank, message);
            next.add(to, message);
        }
        at = next;
    }
    at
}
