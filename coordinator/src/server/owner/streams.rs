//! Who can be reached: the newest stream of every node, or of every rank.

use std::collections::BTreeMap;

use tonic::Status;

use super::super::door::{Orders, StreamId};

/// The newest stream of each `K`, which takes orders `O`.
#[derive(Debug)]
pub(super) struct Streams<K, O> {
    open: BTreeMap<K, Stream<O>>,
}

#[derive(Debug)]
struct Stream<O> {
    id: StreamId,
    orders: Orders<O>,
}

impl<K: Ord + Clone, O> Streams<K, O> {
    pub(super) fn new() -> Self {
        Self { open: BTreeMap::new() }
    }

    /// A new stream; an older one ends with it, since its orders have nobody to send them any more.
    pub(super) fn open(&mut self, key: K, id: StreamId, orders: Orders<O>) {
        self.open.insert(key, Stream { id, orders });
    }

    /// Whether this stream is the newest; what an older one says is not heard.
    pub(super) fn is_newest(&self, key: &K, id: StreamId) -> bool {
        self.open.get(key).is_some_and(|stream| stream.id == id)
    }

    /// Forgets a stream that has ended. Whether it was the newest.
    pub(super) fn close(&mut self, key: &K, id: StreamId) -> bool {
        let is_newest = self.is_newest(key, id);
        if is_newest {
            self.open.remove(key);
        }
        is_newest
    }

    /// Sends an order if anybody is there to take it. Never waits: a stream that takes nothing any more is cut off, and
    /// whoever is behind it attaches again and is told again.
    pub(super) fn send(&mut self, key: &K, order: O) {
        let Some(stream) = self.open.get(key) else { return };
        if stream.orders.try_send(Ok(order)).is_err() {
            self.open.remove(key);
        }
    }

    /// Ends the newest stream with a reason.
    pub(super) fn cut(&mut self, key: &K, reason: Status) {
        if let Some(stream) = self.open.remove(key) {
            let _ = stream.orders.try_send(Err(reason));
        }
    }

    /// Ends the streams that are not wanted any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&K) -> bool) {
        self.open.retain(|key, _| wanted(key));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::runs::{LogBook, Runs};
    use crate::server::door::Door;

    fn ids() -> [StreamId; 2] {
        let runs = Runs::new("nowhere".into());
        let (_book, logs) = LogBook::start(runs.clone()).unwrap();
        let (inbox, _) = mpsc::channel(1);
        let closing = watch::channel(false).1;
        let door = Door { inbox, logs, runs, state: "nowhere".into(), closing, streams: Arc::default() };
        [door.stream(), door.stream()]
    }

    #[test]
    fn only_the_newest_stream_counts() {
        let [old, new] = ids();
        let mut streams = Streams::new();
        let (orders, mut outbox) = mpsc::channel(1);
        streams.open("alpha", old, orders);
        let (orders, mut newer) = mpsc::channel(1);
        streams.open("alpha", new, orders);
        assert!(!streams.is_newest(&"alpha", old) && streams.is_newest(&"alpha", new));
        assert!(!streams.close(&"alpha", old));
        streams.send(&"alpha", 5);
        assert!(outbox.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected));
        assert_eq!(newer.try_recv().unwrap().unwrap(), 5);
    }

    #[test]
    fn a_stream_that_takes_no_orders_is_cut_off_instead_of_waited_for() {
        let [id, _] = ids();
        let mut streams = Streams::new();
        let (orders, mut outbox) = mpsc::channel(1);
        streams.open("alpha", id, orders);
        streams.send(&"alpha", 1);
        streams.send(&"alpha", 2);
        assert!(!streams.is_newest(&"alpha", id));
        assert_eq!(outbox.try_recv().unwrap().unwrap(), 1);
        assert!(outbox.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected));
    }
}
