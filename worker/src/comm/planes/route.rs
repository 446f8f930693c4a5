//! Which rank a parcel goes to next. Pure.
//!
//! Every rank has one NIC, which is on one plane. It is linked with all ranks of its node, and across with those on its
//! own plane. A parcel makes at most three hops: to a rank of the sender's node, across, to a rank of the receiver's
//! node. What came from the own node leaves it, what came across stays, so nothing runs in circles.

use std::collections::BTreeSet;

use ds_plan::RankId;

/// Where every rank sits.
#[derive(Clone, Debug)]
pub(in super::super) struct Seats {
    pub(super) own: RankId,
    /// By rank.
    nodes: Vec<usize>,
    planes: Vec<u32>,
}

/// From where a rank has a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It made it.
    Here,
    /// From another rank of its node.
    Local,
    /// From another node.
    Across,
}

/// Links that are lost: this rank's own, and those of others of its node, who said so.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost(BTreeSet<(RankId, RankId)>);

impl Lost {
    /// False when it was known.
    pub(super) fn add(&mut self, of: RankId, to: RankId) -> bool {
        self.0.insert((of, to))
    }

    fn has(&self, of: RankId, to: RankId) -> bool {
        self.0.contains(&(of, to))
    }

    /// Whether a rank has lost any.
    pub(super) fn any_of(&self, of: RankId) -> bool {
        self.0.iter().any(|(rank, _)| *rank == of)
    }
}

impl Seats {
    /// Of the rank `own`, where ranks have these nodes and planes.
    pub(in super::super) fn new(own: RankId, nodes: Vec<usize>, planes: Vec<u32>) -> Self {
        Self { own, nodes, planes }
    }

    pub(in super::super) fn plane(&self, rank: RankId) -> u32 {
        self.planes[rank.0 as usize]
    }

    pub(in super::super) fn is_local(&self, rank: RankId) -> bool {
        self.same_node(self.own, rank)
    }

    fn same_node(&self, a: RankId, b: RankId) -> bool {
        self.nodes[a.0 as usize] == self.nodes[b.0 as usize]
    }

    /// Whether two ranks have a link.
    pub(in super::super) fn linked(&self, a: RankId, b: RankId) -> bool {
        a != b && (self.same_node(a, b) || self.plane(a) == self.plane(b))
    }

    /// Whether there is such a rank.
    pub(super) fn has(&self, rank: RankId) -> bool {
        (rank.0 as usize) < self.nodes.len()
    }

    pub(super) fn ranks(&self) -> impl Iterator<Item = RankId> + use<> {
        (0..self.nodes.len() as u32).map(RankId)
    }

    /// A rank that this one cannot reach even while all is well.
    pub(in super::super) fn cut_off(&self) -> Option<RankId> {
        let none = Lost::default();
        self.ranks().find(|&rank| rank != self.own && self.hops(rank, Came::Here, &none).is_empty())
    }

    /// The others of the own node.
    pub(super) fn locals(&self) -> impl Iterator<Item = RankId> {
        self.ranks().filter(|&rank| rank != self.own && self.is_local(rank))
    }

    /// The ranks of another one's node, itself too.
    pub(super) fn node_of(&self, rank: RankId) -> impl Iterator<Item = RankId> {
        self.ranks().filter(move |&other| self.same_node(other, rank))
    }

    /// Over which link a rank gets across to the node of `to`, straight to it where that is possible.
    fn across(&self, from: RankId, to: RankId, lost: &Lost) -> Option<RankId> {
        let is_up = |far: &RankId| self.linked(from, *far) && !lost.has(from, *far);
        Some(to).filter(is_up).or_else(|| self.node_of(to).find(is_up))
    }

    /// The ranks that a parcel to `to` may go to next, the best first: over the own NIC where it is on the right plane;
    /// to the rank of the own node that is on it; across, and there to the right one; over any other plane.
    pub(super) fn hops(&self, to: RankId, came: Came, lost: &Lost) -> Vec<RankId> {
        if self.is_local(to) {
            return vec![to];
        }
        let own = self.across(self.own, to, lost);
        if came != Came::Here {
            // What came across is for this node; what came from it leaves over the own NIC, or not at all.
            return own.into_iter().filter(|_| came == Came::Local).collect();
        }
        let relays = || self.locals().filter(|&local| self.across(local, to, lost).is_some());
        let is_right = |relay: &RankId| self.across(*relay, to, lost) == Some(to);
        let direct = own.filter(|&hop| hop == to);
        let mut hops: Vec<RankId> = direct.into_iter().collect();
        hops.extend(relays().filter(is_right));
        hops.extend(own.filter(|_| direct.is_none()));
        hops.extend(relays().filter(|relay| !is_right(relay)));
        hops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two nodes of three ranks on planes 0, 1, 2.
    fn seats(own: u32) -> Seats {
        Seats::new(RankId(own), vec![0, 0, 0, 1, 1, 1], vec![0, 1, 2, 0, 1, 2])
    }

    fn hops(seats: &Seats, to: u32, came: Came, lost: &Lost) -> Vec<u32> {
        seats.hops(RankId(to), came, lost).into_iter().map(|rank| rank.0).collect()
    }

    fn lost(links: &[(u32, u32)]) -> Lost {
        let mut lost = Lost::default();
        for &(of, to) in links {
            assert!(lost.add(RankId(of), RankId(to)));
        }
        lost
    }

    #[test]
    fn links_are_within_nodes_and_along_planes() {
        let linked: Vec<u32> = (0..6).filter(|&rank| seats(1).linked(RankId(1), RankId(rank))).collect();
        assert_eq!(linked, [0, 2, 4]);
    }

    #[test]
    fn the_right_plane_comes_first_then_other_ways() {
        let none = Lost::default();
        assert_eq!(hops(&seats(0), 2, Came::Here, &none), [2], "within the node");
        // Straight; else over a neighbour's plane, and there to the right rank.
        assert_eq!(hops(&seats(0), 3, Came::Here, &none), [3, 1, 2]);
        // By the neighbour on its plane; across first; over the third plane.
        assert_eq!(hops(&seats(0), 4, Came::Here, &none), [1, 3, 2]);
    }

    #[test]
    fn a_lost_link_is_gone_round() {
        assert_eq!(hops(&seats(0), 3, Came::Here, &lost(&[(0, 3)])), [1, 2]);
        assert_eq!(hops(&seats(0), 4, Came::Here, &lost(&[(1, 4)])), [3, 2]);
        assert_eq!(hops(&seats(0), 3, Came::Here, &lost(&[(0, 3), (1, 4)])), [2]);
        assert_eq!(hops(&seats(0), 3, Came::Here, &lost(&[(0, 3), (1, 4), (2, 5)])), [] as [u32; 0]);
    }

    #[test]
    fn nothing_runs_in_circles() {
        let none = Lost::default();
        assert_eq!(hops(&seats(1), 3, Came::Local, &none), [4], "what came from the node leaves it");
        assert_eq!(hops(&seats(4), 3, Came::Across, &none), [3], "what came across stays");
        assert_eq!(hops(&seats(4), 0, Came::Across, &none), [] as [u32; 0]);
        assert_eq!(hops(&seats(1), 3, Came::Local, &lost(&[(1, 4)])), [] as [u32; 0]);
        // From every rank to every other, whatever one link is lost: whoever follows the first hops arrives.
        for (of, far) in [(0, 3), (1, 4), (2, 5)] {
            let gone = lost(&[(of, far)]);
            for (from, to) in (0..6).flat_map(|from| (0..6).map(move |to| (from, to))).filter(|(a, b)| a != b) {
                let (mut at, mut came, mut n) = (from, Came::Here, 0);
                while at != to {
                    // The far side of the link knows of its loss too.
                    let known = if at < 3 { gone.clone() } else { lost(&[(far, of)]) };
                    let next = hops(&seats(at), to, came, &known)[0];
                    came = if (at < 3) == (next < 3) { Came::Local } else { Came::Across };
                    (at, n) = (next, n + 1);
                    assert!(n <= 3, "from {from} to {to}");
                }
            }
        }
    }
}
