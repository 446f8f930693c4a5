//! What passes down a pipeline.

use crate::EndpointId;
use crate::traffic::{Frontier, Traffic};

/// `n` microbatches through all ranks in turn: a rank works `seconds` on each and sends `bytes` to the next one; it
/// goes on with the next microbatch meanwhile.
pub fn pipeline_sends(
    traffic: &mut Traffic,
    ranks: &[EndpointId],
    n: u32,
    seconds: f64,
    bytes: f64,
    after: Frontier,
) -> Frontier {
    let mut at = after;
    for _ in 0..n {
        let mut received = None;
        for rank in 0..ranks.len() {
            let deps: Vec<_> = at.of(rank).iter().copied().chain(received).collect();
            let worked = traffic.wait(seconds, &deps);
            at.0[rank] = vec![worked];
            received = ranks.get(rank + 1).map(|&to| traffic.send(ranks[rank], to, bytes, &[worked]));
        }
    }
    at
}
