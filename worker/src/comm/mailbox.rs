//! What came before the operation that takes it started.

use std::collections::HashMap;

use ds_plan::{GroupId, RankId};

use super::operation::Lane;
use super::transport::{Message, WAITING_MAX_BYTES};
use super::wire::{HEADER_BYTES, Header};

/// Which message an operation awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) group: GroupId,
    pub(super) from: RankId,
    pub(super) lane: Lane,
    pub(super) sequence: u64,
    pub(super) phase: u8,
}

#[derive(Default)]
pub(super) struct Mailbox {
    messages: HashMap<Key, Message>,
    /// Of each rank that sent them.
    waiting: HashMap<RankId, u64>,
}

impl Mailbox {
    /// The bytes that wait of that rank, when they are too many.
    pub(super) fn put(&mut self, lane: Lane, message: Message) -> Result<(), u64> {
        let Header { group, source: from, sequence, phase, .. } = message.header;
        let waiting = self.waiting.entry(from).or_default();
        *waiting += size(&message);
        if *waiting > WAITING_MAX_BYTES {
            return Err(*waiting);
        }
        self.messages.insert(Key { group, from, lane, sequence, phase }, message);
        Ok(())
    }

    pub(super) fn take(&mut self, key: &Key) -> Option<Message> {
        let message = self.messages.remove(key)?;
        if let Some(waiting) = self.waiting.get_mut(&key.from) {
            *waiting = waiting.saturating_sub(size(&message));
        }
        Some(message)
    }

    /// Headers of what lies here for one phase of a collective.
    pub(super) fn of_collective(&self, group: GroupId, sequence: u64, phase: u8) -> impl Iterator<Item = &Header> {
        let is_of = move |key: &Key| {
            key.group == group && key.lane == Lane::Collective && key.sequence == sequence && key.phase == phase
        };
        self.messages.iter().filter(move |(key, _)| is_of(key)).map(|(_, message)| &message.header)
    }

    pub(super) fn clear(&mut self, group: GroupId) {
        let keys: Vec<Key> = self.messages.keys().filter(|key| key.group == group).copied().collect();
        for key in keys {
            self.take(&key);
        }
    }
}

fn size(message: &Message) -> u64 {
    (HEADER_BYTES + message.payload.n_bytes()) as u64
}
