//! Where ranks are found, and which of them are linked by which addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{AddrParseError, IpAddr};
use std::str::FromStr;

use ds_plan::RankId;

use super::error::ConnectError;
use super::planes::Seats;

/// Where a rank listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which.
    pub rank: RankId,
    /// The machine that it is on; ranks of one are neighbours.
    pub node: String,
    /// `HOST:PORT`, the best first; on another plane than 0, `HOST:PORT@PLANE`.
    pub addresses: Vec<String>,
}

impl Peer {
    /// Where all are on one machine, or it does not matter.
    pub fn new(rank: RankId, addresses: &[String]) -> Self {
        Self { rank, node: String::new(), addresses: addresses.to_vec() }
    }
}

/// An address of this machine, and the plane that its NIC is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nic {
    /// To bind to.
    pub address: IpAddr,
    /// That it is on.
    pub plane: u32,
}

impl FromStr for Nic {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        let (address, plane) = split_plane(text);
        Ok(Self { address: address.parse()?, plane })
    }
}

impl fmt::Display for Nic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_plane(&self.address.to_string(), self.plane))
    }
}

pub(super) fn with_plane(address: &str, plane: u32) -> String {
    if plane == 0 { address.to_owned() } else { format!("{address}@{plane}") }
}

/// An address, and the plane behind it; 0 where none is named.
pub(super) fn split_plane(text: &str) -> (&str, u32) {
    let parts = text.rsplit_once('@').and_then(|(address, plane)| Some((address, plane.parse().ok()?)));
    parts.unwrap_or((text, 0))
}

/// Who is connected with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// Every two, over whatever address answers first.
    EveryTwo,
    /// Neighbours on a node, and ranks whose NICs are on one plane; every rank has one NIC. `stripe`: long messages use all
    /// planes at once.
    Planes {
        /// Or the best way only.
        stripe: bool,
    },
}

/// How a peer is reached.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) addresses: Vec<String>,
    /// The address that is called from, where that matters.
    pub(super) from: Option<IpAddr>,
}

/// Where ranks sit: the nth rank of a node has its nth NIC, counted round.
pub(super) fn seats(rank: RankId, peers: &[Peer]) -> Result<Seats, ConnectError> {
    let mut sorted: Vec<&Peer> = peers.iter().collect();
    sorted.sort_by_key(|peer| peer.rank);
    let names: BTreeSet<&str> = sorted.iter().map(|peer| peer.node.as_str()).collect();
    let node = |peer: &Peer| names.iter().position(|name| *name == peer.node).expect("it is among them");
    let nodes: Vec<usize> = sorted.iter().map(|peer| node(peer)).collect();
    let plane = |(place, peer): (usize, &&Peer)| {
        let nth = nodes[..place].iter().filter(|&&node| node == nodes[place]).count();
        peer.addresses.get(nth % peer.addresses.len().max(1)).map_or(0, |address| split_plane(address).1)
    };
    let planes: Vec<u32> = sorted.iter().enumerate().map(plane).collect();
    let seats = Seats::new(rank, nodes, planes);
    match seats.cut_off() {
        Some(other) => Err(ConnectError::NoWay { rank, plane: seats.plane(rank), other }),
        None => Ok(seats),
    }
}

/// How a rank reaches those that it is linked with: all others, or those that the seats say.
pub(super) fn ways(rank: RankId, peers: &[Peer], seats: Option<&Seats>, nics: &[Nic]) -> BTreeMap<RankId, Way> {
    let way = |peer: &Peer| {
        let plain = |address: &String| split_plane(address).0.to_owned();
        let across = seats.filter(|seats| !seats.is_local(peer.rank)).map(|seats| seats.plane(rank));
        let on_plane = |address: &&String| across.is_none_or(|plane| split_plane(address).1 == plane);
        Way {
            addresses: peer.addresses.iter().filter(on_plane).map(plain).collect(),
            from: across.and_then(|plane| nics.iter().find(|nic| nic.plane == plane)).map(|nic| nic.address),
        }
    };
    let is_linked = |peer: &&Peer| peer.rank != rank && seats.is_none_or(|seats| seats.linked(rank, peer.rank));
    peers.iter().filter(is_linked).map(|peer| (peer.rank, way(peer))).collect()
}
