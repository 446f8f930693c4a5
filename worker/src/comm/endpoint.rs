//! One rank's end of all its connections.

use std::sync::Arc;

use ds_plan::{GroupId, RankId};

use super::error::Reason;
use super::group::Group;
use super::shared::Shared;

/// One rank's end of all its connections. Dropping it without [`Endpoint::close`] tells all peers that the rank failed.
#[must_use = "dropping an endpoint fails every group of its rank"]
pub struct Endpoint {
    shared: Arc<Shared>,
}

impl Endpoint {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Which rank's.
    pub fn rank(&self) -> RankId {
        self.shared.rank()
    }

    /// Ranks of the job.
    pub fn n_ranks(&self) -> usize {
        self.shared.n_ranks()
    }

    /// The group of that id, whose members are `ranks` on every one of them, in the order of their places.
    ///
    /// # Panics
    /// When `ranks` lacks this rank, names one twice or one that does not exist, or the id stands for other ranks.
    pub fn group(&self, id: GroupId, ranks: &[RankId]) -> Group {
        Group::new(&self.shared, id, ranks)
    }

    /// Leaves in order: peers get all that operations under way owe them, and then a goodbye. Waits a bounded time for
    /// a peer that does not take it.
    pub fn close(self) {
        self.shared.close();
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let reason = if std::thread::panicking() { Reason::Panicked } else { Reason::Dropped };
        self.shared.desert(reason);
    }
}
