//! The only place of the communication layer that reads a clock or sleeps.

use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "deadlines are arguments, but whether one has passed is asked here")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a peer that does not listen yet gives no event to wait for")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}
