//! All-to-all: every rank has something for every other one.

use crate::EndpointId;
use crate::traffic::{Frontier, Traffic};

/// All messages at once; `bytes` from each rank to each other one.
pub fn all_to_all(traffic: &mut Traffic, ranks: &[EndpointId], bytes: f64, after: &Frontier) -> Frontier {
    let n = ranks.len();
    let mut end = Frontier::start(n);
    for from in 0..n {
        for to in (0..n).filter(|&to| to != from) {
            let message = traffic.send(ranks[from], ranks[to], bytes, after.of(from));
            end.add(from, message);
            end.add(to, message);
        }
    }
    end.or(after)
}

/// In n - 1 steps: in step k to the rank k further on; the next step begins when one has sent and received. `bytes`
/// from each rank to each other one.
pub fn pairwise_all_to_all(traffic: &mut Traffic, ranks: &[EndpointId], bytes: f64, after: Frontier) -> Frontier {
    let n = ranks.len();
    let mut at = after;
    for step in 1..n {
        let mut next = Frontier::start(n);
        for from in 0..n {
            let to = (from + step) % n;
            let message = traffic.send(ranks[from], ranks[to], bytes, at.of(from));
            next.add(from, message);
            next.add(to, message);
        }
        at = next;
    }
    at
}

/// In two steps: within a node to the rank of the receiver's index, then to the receiver, all indices at once. `nodes`
/// lists the ranks of each node; ranks are counted node after node. `bytes` from each rank to each other one.
///
/// # Panics
/// When nodes have different numbers of ranks.
pub fn hierarchical_all_to_all(
    traffic: &mut Traffic,
    nodes: &[Vec<EndpointId>],
    bytes: f64,
    after: &Frontier,
) -> Frontier {
    let per_node = nodes.first().map_or(0, Vec::len);
    assert!(nodes.iter().all(|node| node.len() == per_node), "every node has as many ranks");
    let n_nodes = nodes.len();
    let place = |node: usize, index: usize| node * per_node + index;
    let mut gathered = after.clone();
    for (node, ranks) in nodes.iter().enumerate() {
        for from in 0..per_node {
            for to in (0..per_node).filter(|&to| to != from) {
                // For every rank of that index, the own node's included.
                let all = bytes * n_nodes as f64;
                let message = traffic.send(ranks[from], ranks[to], all, after.of(place(node, from)));
                gathered.add(place(node, from), message);
                gathered.add(place(node, to), message);
            }
        }
    }
    let mut end = Frontier::start(n_nodes * per_node);
    for (from, index) in (0..n_nodes).flat_map(|node| (0..per_node).map(move |index| (node, index))) {
        for to in (0..n_nodes).filter(|&to| to != from) {
            let deps = gathered.of(place(from, index));
            let all = bytes * per_node as f64;
            let message = traffic.send(nodes[from][index], nodes[to][index], all, deps);
            end.add(place(from, index), message);
            end.add(place(to, index), message);
        }
    }
    end.or(&gathered)
}
