//! Ranks as threads, over either backend.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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
}

pub(crate) const BACKENDS: [Backend; 2] = [Backend::Threads, Backend::Tcp];

impl Backend {
    pub(crate) fn endpoints(self, n_ranks: usize) -> Vec<Endpoint> {
        match self {
            Self::Threads => threads(n_ranks),
            Self::Tcp => over_tcp(n_ranks),
        }
    }
}

fn over_tcp(n_ranks: usize) -> Vec<Endpoint> {
    let listeners: Vec<Listener> = (0..n_ranks).map(|_| Listener::bind(&[]).unwrap()).collect();
    let peer = |(rank, listener): (usize, &Listener)| Peer {
        rank: RankId(rank as u32),
        addresses: listener.addresses().to_vec(),
    };
    let peers: Vec<Peer> = listeners.iter().enumerate().map(peer).collect();
    let peers = &peers;
    thread::scope(|scope| {
        let connect = |(rank, listener): (usize, Listener)| {
            scope.spawn(move || listener.connect(RankId(rank as u32), peers, "token", 1, soon()).unwrap())
        };
        let joining: Vec<_> = listeners.into_iter().enumerate().map(connect).collect();
        joining.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// Runs `body` on every rank; each closes its endpoint afterwards, unless it panicked. The results, in rank order.
pub(crate) fn on_ranks<T: Send>(
    backend: Backend,
    n_ranks: usize,
    body: impl Fn(usize, &Endpoint) -> T + Sync,
) -> Vec<T> {
    let endpoints = backend.endpoints(n_ranks);
    thread::scope(|scope| {
        let body = &body;
        let run = |(rank, endpoint): (usize, Endpoint)| {
            scope.spawn(move || {
                tch::set_num_threads(1);
                match catch_unwind(AssertUnwindSafe(|| body(rank, &endpoint))) {
                    Ok(result) => {
                        endpoint.close();
                        result
                    }
                    Err(panic) => resume_unwind(panic),
                }
            })
        };
        let ranks: Vec<_> = endpoints.into_iter().enumerate().map(run).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// All ranks, as a group.
pub(crate) fn world(endpoint: &Endpoint) -> Group {
    let ranks: Vec<RankId> = (0..endpoint.n_ranks() as u32).map(RankId).collect();
    endpoint.group(GroupId(0), &ranks)
}
