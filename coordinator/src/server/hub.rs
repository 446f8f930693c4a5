//! Who watches which job. Watchers never hold the owner up: one that is too slow misses events and is told so.

use std::collections::BTreeMap;

use ds_proto::v1;
use ds_proto::v1::watch_event::Event;
use tokio::sync::broadcast;

/// Events that wait for one watcher. A job of ten steps a second leaves it half a minute.
const WAITING_MAX: usize = 256;

/// Something that watchers of a job are told. Made once, shared by all of them.
pub(super) type News = v1::WatchEvent;

/// The watchers of all jobs.
#[derive(Debug, Default)]
pub(super) struct Hub {
    jobs: BTreeMap<String, broadcast::Sender<News>>,
}

impl Hub {
    /// From now on.
    pub(super) fn follow(&mut self, job: &str) -> broadcast::Receiver<News> {
        match self.jobs.get(job) {
            Some(sender) => sender.subscribe(),
            None => {
                let (sender, receiver) = broadcast::channel(WAITING_MAX);
                self.jobs.insert(job.to_owned(), sender);
                receiver
            }
        }
    }

    /// Tells those who watch, if anybody does.
    pub(super) fn tell(&mut self, job: &str, event: Event) {
        let Some(sender) = self.jobs.get(job) else { return };
        if sender.send(v1::WatchEvent { event: Some(event) }).is_err() {
            // The last one has left.
            self.jobs.remove(job);
        }
    }

    /// Whether telling costs anything.
    pub(super) fn is_watched(&self, job: &str) -> bool {
        self.jobs.contains_key(job)
    }

    /// Nobody watches a job that has ended for long.
    pub(super) fn forget(&mut self, job: &str) {
        self.jobs.remove(job);
    }
}
