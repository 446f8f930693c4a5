//! Connections at work: a thread that reads and one that writes for each peer.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ds_plan::RankId;

use super::clock::now;
use super::handshake::nonce;
use super::memory::is_same_machine;
use super::outbox::Outbox;
use super::reader::{LISTEN, Network, Reader};
use super::shared::Shared;

/// For a peer to take the last that it is sent, or to leave too. Only one that is stuck takes so long.
pub(super) const FAREWELL: Duration = Duration::from_secs(10);

/// Connections that were made, by peer.
pub(super) type Links = BTreeMap<RankId, TcpStream>;

/// What waits for each peer.
pub(super) type Outboxes = BTreeMap<RankId, Arc<Outbox>>;

/// An outbox for every connection.
pub(super) fn outboxes(links: &Links) -> io::Result<Outboxes> {
    let outbox = |(&peer, stream): (&RankId, &TcpStream)| {
        stream.set_read_timeout(Some(LISTEN))?;
        stream.set_write_timeout(None)?;
        let word = *nonce()?.first_chunk().expect("a nonce is longer");
        Ok((peer, Arc::new(Outbox::new(stream.try_clone()?, word))))
    };
    links.iter().map(outbox).collect()
}

/// Starts the threads of every connection.
pub(super) fn start(
    links: Links,
    outboxes: &Outboxes,
    shared: &Arc<Shared>,
    network: &Arc<dyn Network>,
) -> io::Result<()> {
    for (peer, stream) in links {
        let (outbox, own) = (Arc::clone(&outboxes[&peer]), Arc::clone(&outboxes[&peer]));
        if is_same_machine(&stream) {
            // The first frame, so that nothing is in its way.
            let _ = outbox.probe();
        }
        let name = |what: &str| thread::Builder::new().name(format!("{what} rank {}", peer.0));
        // What fails here fails for the reader too, who first reads what the peer still said.
        name("to").spawn(move || outbox.write_until_ended().ok())?;
        let reader = Reader::new((peer, stream), Arc::clone(shared), Arc::clone(network), own);
        name("from").spawn(move || reader.run())?;
    }
    Ok(())
}

/// Gives up what was not handed over yet, but for notices, and ends every connection.
pub(super) fn cut(outboxes: &Outboxes) {
    let until = now() + FAREWELL / 2;
    outboxes.values().for_each(|outbox| outbox.keep_notices());
    outboxes.values().for_each(|outbox| outbox.wait_empty(until));
    outboxes.values().for_each(|outbox| outbox.shut());
}

/// Says goodbye on every connection after all that was sent, and hands it over.
pub(super) fn finish(outboxes: &Outboxes, until: Instant) {
    outboxes.values().for_each(|outbox| outbox.finish());
    outboxes.values().for_each(|outbox| outbox.wait_empty(until));
}

/// What threads change, and wait for.
#[derive(Default)]
pub(super) struct Awaited<T> {
    state: Mutex<T>,
    changed: Condvar,
}

impl<T> Awaited<T> {
    pub(super) fn new(state: T) -> Self {
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits as long as `waits` says so, but not longer than that.
    pub(super) fn wait_while(&self, longest: Duration, waits: impl FnMut(&mut T) -> bool) {
        let guard = self.lock();
        drop(self.changed.wait_timeout_while(guard, longest, waits));
    }
}
