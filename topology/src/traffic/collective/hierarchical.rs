//! All-reduce in two levels: within nodes directly, between nodes by one ring an index.

use super::ring::ring_all_reduce;
use crate::EndpointId;
use crate::traffic::{Frontier, Traffic};

/// Ranks of a node add their shares of the buffer directly, each share goes round a ring of the ranks of one index,
/// and comes back to all ranks of the node. `nodes` lists the ranks of each node; ranks are counted node after node.
///
/// # Panics
/// When nodes have different numbers of ranks.
pub fn hierarchical_all_reduce(
    traffic: &mut Traffic,
    nodes: &[Vec<EndpointId>],
    bytes: f64,
    after: &Frontier,
) -> Frontier {
    let per_node = nodes.first().map_or(0, Vec::len);
    assert!(nodes.iter().all(|node| node.len() == per_node), "every node has as many ranks");
    let share = bytes / per_node as f64;
    // A rank's share is whole when all others have sent theirs; what it sends itself does not hold it up.
    let scattered = swap(traffic, nodes, share, after).or(after);
    let mut reduced = Frontier::start(nodes.len() * per_node);
    for index in 0..per_node {
        let ring: Vec<EndpointId> = nodes.iter().map(|node| node[index]).collect();
        let places: Vec<usize> = (0..nodes.len()).map(|node| node * per_node + index).collect();
        let own = Frontier(places.iter().map(|&place| scattered.of(place).to_vec()).collect());
        let end = ring_all_reduce(traffic, &ring, share, own);
        for (&place, end) in places.iter().zip(end.0) {
            reduced.0[place] = end;
        }
    }
    let gathered = swap(traffic, nodes, share, &reduced);
    gathered.or(&reduced)
}

/// `share` bytes between all ranks of a node; what each rank waits for is what it gets.
fn swap(traffic: &mut Traffic, nodes: &[Vec<EndpointId>], share: f64, after: &Frontier) -> Frontier {
    let per_node = nodes.first().map_or(0, Vec::len);
    let mut end = Frontier::start(nodes.len() * per_node);
    for (node, ranks) in nodes.iter().enumerate() {
        for from in 0..per_node {
            for to in (0..per_node).filter(|&to| to != from) {
                let message = traffic.send(ranks[from], ranks[to], share, after.of(node * per_node + from));
                end.add(node * per_node + to, message);
            }
        }
    }
    end
}
