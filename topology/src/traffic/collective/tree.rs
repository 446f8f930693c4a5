//! All-reduce over a binary tree, in chunks that follow each other.

use crate::EndpointId;
use crate::traffic::{Frontier, MessageId, Traffic};

/// Sums go up to rank 0, chunk by chunk, and the result comes down. Rank r's parent is (r - 1) / 2. Every rank but the
/// root sends its buffer up once, and every edge carries it down once: 2 (n - 1) buffers in all.
///
/// # Panics
/// When there are no chunks.
pub fn tree_all_reduce(
    traffic: &mut Traffic,
    ranks: &[EndpointId],
    bytes: f64,
    chunks: u32,
    after: Frontier,
) -> Frontier {
    assert!(chunks > 0, "a buffer is at least one chunk");
    let n = ranks.len();
    let share = bytes / f64::from(chunks);
    let children = |rank: usize| [2 * rank + 1, 2 * rank + 2].into_iter().filter(move |&child| child < n);
    let mut end = Frontier::start(n);
    // The last chunk that went over an edge, by its child: chunks of an edge follow each other.
    let (mut last_up, mut last_down) = (vec![None; n], vec![None; n]);
    for _ in 0..chunks {
        let mut up: Vec<Option<MessageId>> = vec![None; n];
        for rank in (1..n).rev() {
            let mut deps: Vec<MessageId> = after.of(rank).to_vec();
            deps.extend(children(rank).filter_map(|child| up[child]).chain(last_up[rank]));
            up[rank] = Some(traffic.send(ranks[rank], ranks[(rank - 1) / 2], share, &deps));
        }
        last_up.clone_from(&up);
        let mut down: Vec<Option<MessageId>> = vec![None; n];
        for rank in 1..n {
            let parent = (rank - 1) / 2;
            let mut deps: Vec<MessageId> = match down[parent] {
                Some(message) => vec![message],
                None => {
                    children(parent).filter_map(|child| up[child]).chain(after.of(parent).iter().copied()).collect()
                }
            };
            deps.extend(last_down[rank]);
            down[rank] = Some(traffic.send(ranks[parent], ranks[rank], share, &deps));
        }
        last_down.clone_from(&down);
    }
    for rank in 1..n {
        for message in last_up[rank].into_iter().chain(last_down[rank]) {
            end.add(rank, message);
            end.add((rank - 1) / 2, message);
        }
    }
    end.or(&after)
}
