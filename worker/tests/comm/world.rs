//! Ranks as threads, or as processes that `mpirun` started, over every backend.

use std::panic::resume_unwind;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use ds_plan::{GroupId, RankId};
use ds_worker::comm::{Endpoint, Group, Listener, Peer, threads};

/// A test that needs longer hangs, also on a machine with other work to do.
pub(crate) fn soon() -> Instant {
    within(Duration::from_secs(120))
}

#[allow(clippy::disallowed_methods, reason = "a test has a clock")]
pub(crate) fn within(time: Duration) -> Instant {
    Instant::now() + time
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    Threads,
    Tcp,
    /// On two nodes of two NICs each, with long messages on all planes, or not.
    Planes {
        stripe: bool,
    },
    /// Threads, whose tensors lie where what stands for NCCL takes them.
    Cards,
    /// Each process that `mpirun` started is one rank.
    #[cfg(feature = "mpi")]
    Mpi,
}

/// Those that this process can be a rank, or all ranks, of.
pub(crate) fn backends() -> Vec<Backend> {
    #[cfg(feature = "mpi")]
    if crate::mpi::is_under_mpirun() {
        return vec![Backend::Mpi];
    }
    vec![Backend::Threads, Backend::Tcp, Backend::Planes { stripe: false }, Backend::Planes { stripe: true }]
}

/// Likewise, with those that only move tensors.
pub(crate) fn conforming() -> Vec<Backend> {
    let mut all = backends();
    if matches!(all[0], Backend::Threads) {
        all.push(Backend::Cards);
    }
    all
}

impl Backend {
    /// All ranks, as a group.
    pub(crate) fn world(self, endpoint: &Endpoint) -> Group {
        self.moved(world(endpoint))
    }

    /// Some ranks, as a group.
    pub(crate) fn group(self, endpoint: &Endpoint, id: GroupId, ranks: &[RankId]) -> Group {
        self.moved(endpoint.group(id, ranks))
    }

    fn moved(self, group: Group) -> Group {
        match self {
            Self::Cards if group.size() > 1 => crate::cards::on_cards(&group, Duration::from_secs(60)).unwrap(),
            _ => group,
        }
    }

    /// The ranks of this process, of `n_ranks` in all.
    fn endpoints(self, n_ranks: usize) -> Vec<Endpoint> {
        match self {
            Self::Threads | Self::Cards => threads(n_ranks),
            Self::Tcp => over_tcp(n_ranks),
            Self::Planes { stripe } => crate::planes::endpoints(n_ranks, stripe, |addresses| addresses),
            #[cfg(feature = "mpi")]
            Self::Mpi => crate::mpi::endpoint(n_ranks).into_iter().collect(),
        }
    }

    /// Where all of `n_ranks` ranks meet, beside what is tested.
    pub(crate) fn meeting(self, n_ranks: usize) -> Meeting {
        match self {
            Self::Threads | Self::Cards | Self::Tcp | Self::Planes { .. } => Meeting::Threads(Barrier::new(n_ranks)),
            #[cfg(feature = "mpi")]
            Self::Mpi => Meeting::Mpi(n_ranks),
        }
    }
}

/// Where ranks wait for each other, beside what is tested.
pub(crate) enum Meeting {
    Threads(Barrier),
    #[cfg(feature = "mpi")]
    Mpi(usize),
}

impl Meeting {
    pub(crate) fn wait(&self) {
        match self {
            Self::Threads(barrier) => drop(barrier.wait()),
            #[cfg(feature = "mpi")]
            Self::Mpi(n_ranks) => crate::mpi::meet(*n_ranks),
        }
    }
}

fn over_tcp(n_ranks: usize) -> Vec<Endpoint> {
    let listeners: Vec<Listener> = (0..n_ranks).map(|_| Listener::bind(&[]).unwrap()).collect();
    let peer = |(rank, listener): (usize, &Listener)| Peer::new(RankId(rank as u32), listener.addresses());
    let peers: Vec<Peer> = listeners.iter().enumerate().map(peer).collect();
    connected(listeners, &peers)
}

/// All of them, each connected from a thread of its own.
pub(crate) fn connected(listeners: Vec<Listener>, peers: &[Peer]) -> Vec<Endpoint> {
    thread::scope(|scope| {
        let connect = |(rank, listener): (usize, Listener)| {
            scope.spawn(move || listener.connect(RankId(rank as u32), peers, "token", 1, soon()).unwrap())
        };
        let joining: Vec<_> = listeners.into_iter().enumerate().map(connect).collect();
        joining.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// Runs `body` on every rank of this process; each closes its endpoint afterwards, unless it panicked. Results beside
/// their ranks, in rank order.
pub(crate) fn on_ranks<T: Send>(
    backend: Backend,
    n_ranks: usize,
    body: impl Fn(usize, &Endpoint) -> T + Sync,
) -> Vec<(usize, T)> {
    with_endpoints(backend, n_ranks, |rank, endpoint| {
        let result = body(rank, &endpoint);
        endpoint.close();
        result
    })
}

/// Likewise; `body` decides how its rank leaves.
pub(crate) fn with_endpoints<T: Send>(
    backend: Backend,
    n_ranks: usize,
    body: impl Fn(usize, Endpoint) -> T + Sync,
) -> Vec<(usize, T)> {
    on_all(backend.endpoints(n_ranks), body)
}

/// Likewise, on endpoints that are there.
pub(crate) fn on_all<T: Send>(endpoints: Vec<Endpoint>, body: impl Fn(usize, Endpoint) -> T + Sync) -> Vec<(usize, T)> {
    thread::scope(|scope| {
        let body = &body;
        let run = |endpoint: Endpoint| {
            let rank = endpoint.rank().0 as usize;
            scope.spawn(move || {
                tch::set_num_threads(1);
                (rank, body(rank, endpoint))
            })
        };
        let ranks: Vec<_> = endpoints.into_iter().map(run).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// All ranks, as a group.
pub(crate) fn world(endpoint: &Endpoint) -> Group {
    let ranks: Vec<RankId> = (0..endpoint.n_ranks() as u32).map(RankId).collect();
    endpoint.group(GroupId(0), &ranks)
}
