//! The time, for the shell around the state machine.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::cluster::Time;

/// The wall clock when the coordinator started, and the steady one from then on: nobody is taken for dead because
/// somebody set the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
    start_time: Time,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the shell reads the clock, so that the state machine need not")]
    pub(super) fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_time: Time(0) + since }
    }

    pub(super) fn now(&self) -> Time {
        self.start_time + self.start.elapsed()
    }

    /// When that is.
    pub(super) fn at(&self, time: Time) -> Instant {
        self.start + time.since(self.start_time)
    }
}
