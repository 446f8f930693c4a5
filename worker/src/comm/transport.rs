//! How a message reaches another rank.

use ds_plan::RankId;

use super::payload::Payload;
use super::wire::{Header, Notice};

/// No message is longer; nor are all that wait for one peer, or of one peer, together. A rank that is so far ahead or
/// behind has lost its schedule.
pub(super) const WAITING_MAX_BYTES: u64 = 4 << 30;

/// Elements and what they are.
pub(super) struct Message {
    pub(super) header: Header,
    pub(super) payload: Payload,
}

/// What a rank's NIC carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlaneTraffic {
    /// The plane that it is on.
    pub plane: u32,
    /// That left over it, also of others, since the endpoint was made.
    pub bytes: u64,
    /// Whether it does not reach all whom it should.
    pub is_lost: bool,
}

/// More than the limit waits for a peer.
pub(super) struct Behind {
    pub(super) n_bytes: u64,
}

/// Carries messages to peers; what comes from them goes to `Shared::on_message` and its neighbours. No call waits for
/// a peer, except the last ones, which wait a bounded time.
pub(super) trait Transport: Send + Sync {
    /// Messages to one peer arrive in order.
    fn send(&self, to: RankId, message: Message) -> Result<(), Behind>;

    /// May overtake messages.
    fn notify(&self, to: RankId, notice: &Notice);

    /// Says goodbye after all that was sent, and hands it over. Nothing follows.
    fn close(&self);

    /// Gives up what was not handed over yet, but for notices. Nothing follows.
    fn cut(&self);

    /// What this rank's NIC has carried, where every rank has one of its own.
    fn plane(&self) -> Option<PlaneTraffic> {
        None
    }
}
