//! Ranks as processes that find and connect to each other over TCP.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ds_plan::RankId;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};

use super::clock::{now, pause};
use super::endpoint::Endpoint;
use super::error::{CommError, ConnectError};
pub use super::handshake::Refusal;
use super::handshake::Secret;
use super::links::Links;
use super::mesh;
use super::planes;
use super::ways::{Nic, Peer, Way, Wiring, seats, ways, with_plane};

/// One that connects and says nothing is not waited for longer.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// One address is not tried longer before the next.
const DIAL_MAX: Duration = Duration::from_secs(3);
/// Between two looks for somebody new, or two tries.
const PAUSE: Duration = Duration::from_millis(2);
/// Strangers that may stand at the door at once.
const KNOCKS_MAX: usize = 32;

/// A rank that listens for its peers.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
    nics: Vec<Nic>,
    addresses: Vec<String>,
    wiring: Wiring,
}

impl Listener {
    /// Listens on a free port of each address; on loopback where none is given.
    ///
    /// # Errors
    /// When an address is not one of this machine.
    pub fn bind(nics: &[Nic]) -> Result<Self, CommError> {
        let loopback = [Nic { address: IpAddr::from([127, 0, 0, 1]), plane: 0 }];
        let nics = if nics.is_empty() { &loopback[..] } else { nics };
        let mut sockets = Vec::new();
        let mut addresses = Vec::new();
        for nic in nics {
            let address = SocketAddr::new(nic.address, 0);
            let socket = TcpListener::bind(address).map_err(|source| ConnectError::Bind { address, source })?;
            socket.set_nonblocking(true).map_err(ConnectError::System)?;
            let address = socket.local_addr().map_err(ConnectError::System)?;
            addresses.push(with_plane(&address.to_string(), nic.plane));
            sockets.push(socket);
        }
        Ok(Self { sockets, nics: nics.to_vec(), addresses, wiring: Wiring::EveryTwo })
    }

    /// The same, wired otherwise; as its peers are.
    #[must_use]
    pub fn wired(self, wiring: Wiring) -> Self {
        Self { wiring, ..self }
    }

    /// Where peers connect to, as [`Peer`] has it.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Connects to those of `peers` that the wiring asks for; they name every rank of the job once, this one too. All of
    /// them must know `token` and be of one `attempt`.
    ///
    /// # Errors
    /// When a peer is not there before `deadline`, is not who it should be, or has no way to this rank.
    pub fn connect(
        self,
        rank: RankId,
        peers: &[Peer],
        token: &str,
        attempt: u32,
        deadline: Instant,
    ) -> Result<Endpoint, CommError> {
        check(rank, peers)?;
        let secret = Secret::new(token, attempt);
        let seats = match self.wiring {
            Wiring::EveryTwo => None,
            Wiring::Planes { stripe } => Some((seats(rank, peers)?, stripe)),
        };
        let ways = ways(rank, peers, seats.as_ref().map(|(seats, _)| seats), &self.nics);
        let meeting =
            Meeting { rank, n_ranks: peers.len() as u32, secret, ways, deadline, over: AtomicBool::new(false) };
        let links = thread::scope(|scope| {
            let accepted = scope.spawn(|| meeting.until_over(meeting.accept_higher(&self.sockets)));
            let mut links = meeting.until_over(meeting.dial_lower());
            let accepted = accepted.join().expect("accepting does not panic");
            // What one side knows for sure is worth more than that the other one waited in vain.
            let links_of_lower = std::mem::replace(&mut links, Ok(BTreeMap::new()))?;
            let mut all = accepted?;
            all.extend(links_of_lower);
            Ok::<_, ConnectError>(all)
        })?;
        let endpoint = match seats {
            None => mesh::endpoint(rank, peers.len(), links),
            Some((seats, stripe)) => planes::endpoint(seats, links, stripe),
        };
        Ok(endpoint.map_err(ConnectError::System)?)
    }
}

/// Every rank is listed once.
fn check(rank: RankId, peers: &[Peer]) -> Result<(), ConnectError> {
    let n_peers = peers.len();
    let once = |rank: RankId| peers.iter().filter(|peer| peer.rank == rank).count() == 1;
    let all = (0..n_peers as u32).map(RankId).chain([rank]);
    match all.into_iter().find(|&rank| !once(rank)) {
        Some(rank) => Err(ConnectError::Peers { n_peers, rank }),
        None => Ok(()),
    }
}

/// A rank while its peers come together: it connects to lower ranks, higher ones connect to it.
struct Meeting {
    rank: RankId,
    n_ranks: u32,
    secret: Secret,
    ways: BTreeMap<RankId, Way>,
    deadline: Instant,
    /// One of the two sides has failed; the other need not go on.
    over: AtomicBool,
}

impl Meeting {
    fn until_over(&self, result: Result<Links, ConnectError>) -> Result<Links, ConnectError> {
        if result.is_err() {
            self.over.store(true, Ordering::Relaxed);
        }
        result
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed) && now() < self.deadline
    }

    fn dial_lower(&self) -> Result<Links, ConnectError> {
        let lower = self.ways.iter().filter(|(rank, _)| **rank < self.rank);
        lower.map(|(&rank, way)| Ok((rank, self.dial(rank, way)?))).collect()
    }

    fn dial(&self, rank: RankId, way: &Way) -> Result<TcpStream, ConnectError> {
        let mut last = std::io::Error::from(ErrorKind::TimedOut);
        loop {
            for address in &way.addresses {
                match self.dial_address(rank, address, way.from) {
                    Ok(Ok(stream)) => return Ok(stream),
                    Ok(Err(refusal)) => return Err(ConnectError::Refused { rank, address: address.clone(), refusal }),
                    Err(error) => last = error,
                }
            }
            if !self.goes_on() {
                return Err(ConnectError::Unreachable { rank, addresses: way.addresses.clone(), source: last });
            }
            pause(PAUSE);
        }
    }

    fn dial_address(
        &self,
        rank: RankId,
        address: &str,
        from: Option<IpAddr>,
    ) -> std::io::Result<Result<TcpStream, Refusal>> {
        let left = self.deadline.saturating_duration_since(now());
        let address = address.to_socket_addrs()?.next().ok_or(ErrorKind::AddrNotAvailable)?;
        let longest = left.min(DIAL_MAX).max(PAUSE);
        let mut stream = match from {
            Some(from) => connect_from(from, &address, longest)?,
            None => TcpStream::connect_timeout(&address, longest)?,
        };
        if is_own_echo(&stream) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        // The other side may come to its door later than this one.
        prepare(&stream, left.max(PAUSE))?;
        let verdict = self.secret.knock(&mut stream, self.rank, rank, self.n_ranks)?;
        Ok(verdict.map(|()| stream))
    }

    fn accept_higher(&self, sockets: &[TcpListener]) -> Result<Links, ConnectError> {
        let mut missing: BTreeSet<RankId> = self.ways.keys().copied().filter(|&rank| rank > self.rank).collect();
        let (mut links, mut refusals) = (Links::new(), Vec::new());
        thread::scope(|scope| {
            let (heard, knocks) = mpsc::channel();
            let mut at_door: BTreeMap<usize, TcpStream> = BTreeMap::new();
            let mut n_knocks = 0;
            while !missing.is_empty() && self.goes_on() {
                for socket in sockets {
                    if at_door.len() == KNOCKS_MAX {
                        break;
                    }
                    let Ok((mut stream, _)) = socket.accept() else { continue };
                    let Ok(handle) = stream.try_clone() else { continue };
                    n_knocks += 1;
                    at_door.insert(n_knocks, handle);
                    let (heard, knock) = (heard.clone(), n_knocks);
                    scope.spawn(move || {
                        let opened = prepare(&stream, HANDSHAKE_MAX)
                            .and_then(|()| self.secret.open(&mut stream, self.rank, self.n_ranks));
                        let _ = heard.send((knock, stream, opened));
                    });
                }
                while let Ok((knock, mut stream, opened)) = knocks.try_recv() {
                    at_door.remove(&knock);
                    let Ok((door, knocker)) = opened else { continue };
                    let verdict = knocker.and_then(|rank| match missing.contains(&rank) {
                        true => Ok(rank),
                        false => Err(Refusal::NotAwaited(rank.0)),
                    });
                    let answered = self.secret.answer(&mut stream, &door, verdict.map(|_| ()));
                    match (verdict, answered) {
                        (Ok(rank), Ok(())) => {
                            missing.remove(&rank);
                            links.insert(rank, stream);
                        }
                        (Err(refusal), _) if refusals.len() < KNOCKS_MAX => refusals.push(refusal),
                        _ => (),
                    }
                }
                pause(PAUSE);
            }
            // Nobody waits for those who still say nothing.
            at_door.values().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        });
        if missing.is_empty() {
            return Ok(links);
        }
        Err(ConnectError::Missing { missing: missing.into_iter().collect(), refusals })
    }
}

/// Whether nobody listens there, and the system happened to pick the very address that is called for the caller: such a
/// connection is one to itself.
fn is_own_echo(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(own), Ok(peer)) if own == peer)
}

/// Connects from an address of this machine, so that its NIC carries what is sent.
fn connect_from(from: IpAddr, to: &SocketAddr, longest: Duration) -> std::io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    // The system takes this limit for connecting too.
    let stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(longest))?;
    connect(stream.as_raw_fd(), &SockaddrStorage::from(*to))?;
    Ok(stream)
}

/// For the handshake: nobody is waited for without end.
fn prepare(stream: &TcpStream, longest: Duration) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(longest))?;
    stream.set_write_timeout(Some(longest))
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{SockaddrIn, getsockname};

    use super::*;

    #[test]
    fn a_call_that_reaches_its_own_caller_reaches_nobody() {
        let caller = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
        bind(caller.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        let own: SockaddrIn = getsockname(caller.as_raw_fd()).unwrap();
        connect(caller.as_raw_fd(), &own).unwrap();
        assert!(is_own_echo(&TcpStream::from(caller)));

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_own_echo(&TcpStream::connect(listener.local_addr().unwrap()).unwrap()));
    }
}
