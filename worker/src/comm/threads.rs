//! Ranks as threads of one process: the sender's thread delivers.

use std::sync::{Arc, OnceLock, Weak};

use ds_plan::RankId;

use super::endpoint::Endpoint;
use super::shared::Shared;
use super::transport::{Behind, Message, Transport};
use super::wire::Notice;

/// Endpoints of ranks 0 to `n_ranks` − 1, for as many threads.
pub fn threads(n_ranks: usize) -> Vec<Endpoint> {
    let ranks = Arc::new(OnceLock::new());
    let all: Vec<Arc<Shared>> = (0..n_ranks)
        .map(|rank| {
            let rank = RankId(rank as u32);
            Arc::new(Shared::new(rank, n_ranks, Box::new(Handover { rank, ranks: Arc::clone(&ranks) })))
        })
        .collect();
    ranks.get_or_init(|| all.iter().map(Arc::downgrade).collect::<Vec<_>>());
    all.into_iter().map(Endpoint::new).collect()
}

struct Handover {
    rank: RankId,
    ranks: Arc<OnceLock<Vec<Weak<Shared>>>>,
}

impl Handover {
    /// Nobody when the rank has left and forgotten everything.
    fn peer(&self, rank: RankId) -> Option<Arc<Shared>> {
        self.ranks.get()?.get(rank.0 as usize)?.upgrade()
    }

    fn others(&self) -> impl Iterator<Item = Arc<Shared>> {
        let n = self.ranks.get().map_or(0, Vec::len) as u32;
        (0..n).map(RankId).filter(|&rank| rank != self.rank).filter_map(|rank| self.peer(rank))
    }
}

impl Transport for Handover {
    fn send(&self, to: RankId, message: Message) -> Result<(), Behind> {
        if let Some(peer) = self.peer(to) {
            peer.on_message(message);
        }
        Ok(())
    }

    fn notify(&self, to: RankId, notice: &Notice) {
        if let Some(peer) = self.peer(to) {
            peer.on_notice(self.rank, notice.clone());
        }
    }

    fn close(&self) {
        self.others().for_each(|peer| peer.on_goodbye(self.rank));
    }

    fn cut(&self) {}
}
