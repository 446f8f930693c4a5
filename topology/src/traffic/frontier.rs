//! How far each rank of a group has come, so that collectives can follow each other.

use super::{MessageId, Traffic};

/// Per rank of a group: what must have ended before it goes on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frontier(pub Vec<Vec<MessageId>>);

impl Frontier {
    /// Of `n` ranks that wait for nothing.
    pub fn start(n: usize) -> Self {
        Self(vec![Vec::new(); n])
    }

    /// What a rank waits for.
    pub fn of(&self, rank: usize) -> &[MessageId] {
        &self.0[rank]
    }

    /// A rank waits for `message` too.
    pub fn add(&mut self, rank: usize, message: MessageId) {
        self.0[rank].push(message);
    }

    /// All ranks wait for all: one message without bytes stands for what all have waited for.
    pub fn barrier(&self, traffic: &mut Traffic) -> Self {
        let mut all: Vec<MessageId> = self.0.iter().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        let through = traffic.wait(0.0, &all);
        Self(vec![vec![through]; self.0.len()])
    }

    /// Where nothing was added, what was waited for before still counts.
    pub fn or(self, before: &Self) -> Self {
        let kept = |(now, before): (Vec<MessageId>, &Vec<MessageId>)| if now.is_empty() { before.clone() } else { now };
        Self(self.0.into_iter().zip(&before.0).map(kept).collect())
    }
}
