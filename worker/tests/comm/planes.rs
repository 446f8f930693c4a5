//! Ranks on two nodes of two NICs each: what is for another plane goes by a neighbour, and a plane that is lost takes
//! nothing with it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use ds_plan::RankId;
use ds_worker::comm::{Endpoint, Listener, Nic, Peer, ReduceOp, Wiring};
use tch::{Kind, Tensor};

use crate::world::{connected, on_all, soon, world};

/// Ranks of the first half on one node, the others on another. `way` may put something between ranks: it is given where
/// one listens on a plane, and gives where others find it.
pub(crate) fn endpoints(n_ranks: usize, stripe: bool, way: impl Fn(Vec<String>) -> Vec<String>) -> Vec<Endpoint> {
    let node = |rank: usize| usize::from(rank >= n_ranks.div_ceil(2)) + 1;
    let listener = |rank: usize| {
        let nic = |plane: u32| Nic { address: [127, 0, plane as u8 + 1, node(rank) as u8].into(), plane };
        Listener::bind(&[nic(0), nic(1)]).unwrap().wired(Wiring::Planes { stripe })
    };
    let listeners: Vec<Listener> = (0..n_ranks).map(listener).collect();
    let peer = |(rank, listener): (usize, &Listener)| Peer {
        node: format!("n{}", node(rank)),
        ..Peer::new(RankId(rank as u32), &way(listener.addresses().to_vec()))
    };
    let peers: Vec<Peer> = listeners.iter().enumerate().map(peer).collect();
    connected(listeners, &peers)
}

/// What stands between ranks on plane 1.
struct Cable(Arc<AtomicU8>);

const WHOLE: u8 = 0;
/// Nothing comes through any more, and nobody is told.
const SILENT: u8 = 1;
/// Both ends are hung up.
const TORN: u8 = 2;

impl Cable {
    fn new() -> Self {
        Self(Arc::new(AtomicU8::new(WHOLE)))
    }

    fn becomes(&self, state: u8) {
        self.0.store(state, Ordering::Relaxed);
    }

    /// Addresses behind this cable, where they are on plane 1.
    fn before(&self, addresses: Vec<String>) -> Vec<String> {
        addresses.into_iter().map(|address| self.before_one(&address).unwrap_or(address)).collect()
    }

    fn before_one(&self, address: &str) -> Option<String> {
        let target = address.strip_suffix("@1")?.to_owned();
        let door = TcpListener::bind((target.split(':').next().unwrap(), 0)).unwrap();
        let own = door.local_addr().unwrap();
        let state = Arc::clone(&self.0);
        thread::spawn(move || {
            for caller in door.incoming().flatten() {
                let called = TcpStream::connect(&target).unwrap();
                for (from, to) in [(&caller, &called), (&called, &caller)] {
                    let (from, to, state) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&state));
                    thread::spawn(move || carry(from, to, &state));
                }
            }
        });
        Some(format!("{own}@1"))
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, state: &AtomicU8) {
    from.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let mut bytes = vec![0; 64 << 10];
    loop {
        let n = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(_) => break,
        };
        match state.load(Ordering::Relaxed) {
            WHOLE if to.write_all(&bytes[..n]).is_ok() => (),
            SILENT => (),
            _ => break,
        }
    }
    let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}

/// Sums and moves rows, step after step; `at` a step something happens. Everybody's results, and which NICs lost links.
fn work(endpoints: Vec<Endpoint>, at: &(dyn Fn(usize, usize) + Sync)) -> Vec<(usize, (Vec<Tensor>, bool))> {
    on_all(endpoints, |rank, endpoint| {
        let group = world(&endpoint);
        let n = group.size() as i64;
        let mut results = Vec::new();
        for step in 0..8 {
            at(rank, step);
            // Long ones, which are cut into parcels, and short ones.
            let long = Tensor::arange(n * 300_000, (Kind::Float, tch::Device::Cpu)) * (rank + step) as f64;
            let sum = group.all_reduce(&long, ReduceOp::Sum);
            let rows = vec![(rank as i64 + 1) * 3; n as usize];
            let from: Vec<i64> = (1..=n).map(|other| other * 3).collect();
            let moved = group.all_to_all(
                &Tensor::full([rows.iter().sum::<i64>()], rank as i64, (Kind::Int64, tch::Device::Cpu)),
                &rows,
                &from,
            );
            results.push(sum.wait(soon()).unwrap().sum(Kind::Double));
            results.push(moved.wait(soon()).unwrap());
        }
        let is_lost = group.plane().unwrap().is_lost;
        endpoint.close();
        (results, is_lost)
    })
}

fn lose_plane_1(stripe: bool, how: u8) {
    let whole = work(endpoints(4, stripe, |addresses| addresses), &|_, _| ());
    let cable = Cable::new();
    let endpoints = endpoints(4, stripe, |addresses| cable.before(addresses));
    let broken = work(endpoints, &|rank, step| {
        if (rank, step) == (0, 3) {
            cable.becomes(how);
        }
    });
    for ((rank, (expected, _)), (_, (found, is_lost))) in whole.iter().zip(&broken) {
        assert!(expected == found, "rank {rank} got something else");
        // Ranks 1 and 3 are on plane 1.
        assert_eq!(*is_lost, rank % 2 == 1, "rank {rank}");
    }
}

#[test]
fn a_plane_whose_links_are_torn_takes_nothing_with_it() {
    lose_plane_1(false, TORN);
}

#[test]
fn a_plane_that_falls_silent_takes_nothing_with_it() {
    lose_plane_1(false, SILENT);
}

#[test]
fn long_messages_over_all_planes_survive_the_loss_of_one() {
    lose_plane_1(true, TORN);
}

#[test]
fn a_rank_uses_its_own_nic_only_and_neighbours_pass_on() {
    // Rank 0, on plane 0, to rank 3, on plane 1: by rank 1.
    let sent = on_all(endpoints(4, false, |addresses| addresses), |rank, endpoint| {
        let group = world(&endpoint);
        let before = group.plane().unwrap();
        group.barrier().wait(soon()).unwrap();
        let (from, to) = (0, 3);
        let tensor = Tensor::zeros([1 << 20], (Kind::Float, tch::Device::Cpu));
        if rank == from {
            group.send(to, &tensor).wait(soon()).unwrap();
        } else if rank == to {
            let came = group.receive(from, &tensor.size(), Kind::Float).wait(soon()).unwrap();
            assert_eq!(came, tensor);
        }
        group.barrier().wait(soon()).unwrap();
        let traffic = group.plane().unwrap();
        endpoint.close();
        (traffic.plane, traffic.bytes - before.bytes)
    });
    let planes: Vec<u32> = sent.iter().map(|(_, (plane, _))| *plane).collect();
    assert_eq!(planes, [0, 1, 0, 1]);
    let long: Vec<usize> = sent.iter().filter(|(_, (_, bytes))| *bytes > 4 << 20).map(|(rank, _)| *rank).collect();
    assert_eq!(long, [1], "{sent:?}");
}

#[test]
fn striped_messages_are_carried_by_both_planes() {
    let sent = on_all(endpoints(4, true, |addresses| addresses), |rank, endpoint| {
        let group = world(&endpoint);
        let tensor = Tensor::zeros([8 << 20], (Kind::Float, tch::Device::Cpu));
        if rank == 0 {
            group.send(2, &tensor).wait(soon()).unwrap();
        } else if rank == 2 {
            let came = group.receive(0, &tensor.size(), Kind::Float).wait(soon()).unwrap();
            assert_eq!(came, tensor);
        }
        group.barrier().wait(soon()).unwrap();
        let bytes = group.plane().unwrap().bytes;
        endpoint.close();
        bytes
    });
    let [(_, first), (_, second), ..] = sent[..] else { panic!("four ranks") };
    assert!(first > 12 << 20 && second > 12 << 20, "{sent:?}");
}

#[test]
fn planes_that_do_not_join_two_ranks_are_named() {
    let bind = |nic: Nic| Listener::bind(&[nic]).unwrap().wired(Wiring::Planes { stripe: false });
    let listeners = [
        bind(Nic { address: [127, 0, 1, 1].into(), plane: 0 }),
        bind(Nic { address: [127, 0, 2, 2].into(), plane: 1 }),
    ];
    let peer =
        |(rank, l): (u32, &Listener)| Peer { node: format!("n{rank}"), ..Peer::new(RankId(rank), l.addresses()) };
    let peers: Vec<Peer> = (0..).zip(&listeners).map(peer).collect();
    for (rank, listener) in (0..).zip(listeners) {
        let error = listener.connect(RankId(rank), &peers, "token", 1, soon()).err().expect("no way");
        let sentence = format!("rank {rank}, whose NIC is on plane {rank}, has no way to rank {}", 1 - rank);
        assert!(error.to_string().contains(&sentence), "{error}");
    }
}
