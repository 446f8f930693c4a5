//! Collectives that switches carry out (SHARP): sums are formed on the way up a tree of switches, and copies on the
//! way down, so that no link carries a buffer twice.

use std::collections::BTreeMap;

use crate::flow::LinkId;
use crate::traffic::{Frontier, Message, MessageId, Traffic, Way};
use crate::{EndpointId, NoRoute, Routes};

/// What the switches do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InNetwork {
    /// All get the sum.
    AllReduce,
    /// Each gets its share of the sum.
    ReduceScatter,
    /// Each gives its share, all get all.
    AllGather,
}

/// Appends one message for every link of the tree, up and down. The tree is what the routes between the ranks and the
/// first of them span, without the first one's own cable, so the switch next to it is the root. Where routes give
/// several paths, the first is taken. All links of the tree carry at once, as chunks follow each other; a rank goes on
/// when its cables are through. `bytes` is the whole buffer.
///
/// # Errors
/// When no path is left between two ranks.
pub fn in_network(
    traffic: &mut Traffic,
    routes: &mut dyn Routes,
    ranks: &[EndpointId],
    bytes: f64,
    operation: InNetwork,
    after: &Frontier,
) -> Result<Frontier, NoRoute> {
    let n = ranks.len();
    if n < 2 {
        return Ok(after.clone());
    }
    let ways: Vec<[Vec<LinkId>; 2]> = (0..n).map(|rank| way(routes, ranks, rank)).collect::<Result<_, _>>()?;
    let mut end = Frontier::start(n);
    for direction in [Direction::Up, Direction::Down] {
        let mut below: BTreeMap<LinkId, Vec<usize>> = BTreeMap::new();
        for (rank, way) in ways.iter().enumerate() {
            way[direction as usize].iter().for_each(|&link| below.entry(link).or_default().push(rank));
        }
        for (link, below) in below {
            let part = bytes * below.len() as f64 / n as f64;
            let carried = match (operation, direction) {
                (InNetwork::ReduceScatter, Direction::Down) | (InNetwork::AllGather, Direction::Up) => part,
                _ => bytes,
            };
            let deps: Vec<MessageId> = below.iter().flat_map(|&rank| after.of(rank).iter().copied()).collect();
            let message = Message { way: Way::Links(vec![link]), bytes: carried, delay: 0.0, deps };
            let message = traffic.push(message);
            below.into_iter().for_each(|rank| end.add(rank, message));
        }
    }
    Ok(end.or(after))
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

/// The links of a rank up to the root, and from there down.
fn way(routes: &mut dyn Routes, ranks: &[EndpointId], rank: usize) -> Result<[Vec<LinkId>; 2], NoRoute> {
    let mut first_path = |from: EndpointId, to: EndpointId| {
        let mut path: Option<Vec<LinkId>> = None;
        routes.paths(from, to, 0, &mut |_, links| {
            path.get_or_insert_with(|| links.to_vec());
        })?;
        Ok(path.unwrap_or_default())
    };
    if rank > 0 {
        let (mut up, mut down) = (first_path(ranks[rank], ranks[0])?, first_path(ranks[0], ranks[rank])?);
        up.pop();
        down.drain(..down.len().min(1));
        return Ok([up, down]);
    }
    // The root's own cable is the first link on its way to anybody, and the last one back.
    let (out, back) = (first_path(ranks[0], ranks[1])?, first_path(ranks[1], ranks[0])?);
    let cable = |link: Option<&LinkId>| link.copied().into_iter().collect();
    Ok([cable(out.first()), cable(back.last())])
}
