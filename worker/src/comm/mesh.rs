//! A connection between every two ranks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ds_plan::RankId;

use super::clock::now;
use super::endpoint::Endpoint;
use super::error::Reason;
use super::links::{Awaited, FAREWELL, Links, Outboxes, cut, finish, outboxes, start};
use super::outbox::Item;
use super::reader::{Network, OnWay, SILENCE_MAX};
use super::shared::Shared;
use super::transport::{Behind, Message, Transport};
use super::wire::Notice;

/// This rank's end of connections to all peers.
pub(super) fn endpoint(rank: RankId, n_ranks: usize, links: Links) -> io::Result<Endpoint> {
    let mesh = Arc::new(Mesh { outboxes: outboxes(&links)?, n_readers: Awaited::new(links.len()) });
    let shared = Arc::new(Shared::new(rank, n_ranks, Box::new(Arc::clone(&mesh))));
    let network: Arc<dyn Network> = Arc::<Mesh>::clone(&mesh);
    start(links, &mesh.outboxes, &shared, &network)?;
    Ok(Endpoint::new(shared))
}

struct Mesh {
    outboxes: Outboxes,
    n_readers: Awaited<usize>,
}

impl Transport for Arc<Mesh> {
    fn send(&self, to: RankId, message: Message) -> Result<(), Behind> {
        match self.outboxes.get(&to) {
            Some(outbox) => outbox.message(message),
            None => Ok(()),
        }
    }

    fn notify(&self, to: RankId, notice: &Notice) {
        if let Some(outbox) = self.outboxes.get(&to) {
            outbox.put_first(Item::notice(notice));
        }
    }

    fn close(&self) {
        finish(&self.outboxes, now() + FAREWELL);
        // A socket that is closed with unread bytes takes the goodbye back, so peers may finish first.
        self.n_readers.wait_while(FAREWELL, |n| *n > 0);
    }

    fn cut(&self) {
        cut(&self.outboxes);
    }
}

impl Network for Mesh {
    fn silence_max(&self, _: RankId) -> Duration {
        SILENCE_MAX
    }

    fn is_over(&self, shared: &Shared) -> bool {
        shared.has_left()
    }

    fn on_broken(&self, shared: &Shared, peer: RankId, reason: Reason) {
        shared.on_failure(peer, reason);
    }

    fn on_goodbye(&self, _: RankId) {}

    fn on_notice(&self, _: RankId, _: &Notice) {}

    fn on_way(&self, _: &Shared, _: RankId, _: OnWay) -> bool {
        false
    }

    fn on_ended(&self, _: RankId) {
        self.n_readers.change(|n| *n -= 1);
    }
}
