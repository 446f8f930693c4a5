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
}
