//! When the state machine is told that time has passed.

use std::time::Duration;

use tokio::time::Instant;

/// Deadlines are met within this, so that many that lie close together are one wake-up.
const PAUSE: Duration = Duration::from_millis(20);
/// Later than this a deadline is met only by a coordinator that did not get to run itself.
const LATE: Duration = Duration::from_millis(500);
/// So much later is asked again, when what lay unread meanwhile has been heard.
const CATCH_UP: Duration = Duration::from_secs(1);

/// When the state machine is told that time has passed. A coordinator that was held up itself takes nobody for dead
/// whose words it has not yet read.
pub(super) struct Ticks {
    not_before: Instant,
}

impl Ticks {
    pub(super) fn start() -> Self {
        Self { not_before: Instant::now() }
    }

    /// When a deadline is due.
    pub(super) fn due(&self, deadline: Instant) -> Instant {
        deadline.max(self.not_before)
    }

    /// Whether time is told, now that a deadline has been waited for; otherwise it is due again a little later.
    pub(super) fn may_tick(&mut self, deadline: Instant, now: Instant) -> bool {
        let is_on_time = now.saturating_duration_since(self.due(deadline)) < LATE;
        self.not_before = now + if is_on_time { PAUSE } else { CATCH_UP };
        is_on_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_that_lie_close_together_are_one_tick() {
        let mut ticks = Ticks::start();
        let deadline = ticks.not_before + Duration::from_secs(5);
        assert_eq!(ticks.due(deadline), deadline);
        assert!(ticks.may_tick(deadline, deadline));
        assert_eq!(ticks.due(deadline + Duration::from_millis(1)), deadline + PAUSE);
        assert_eq!(ticks.due(deadline + 2 * PAUSE), deadline + 2 * PAUSE);
    }

    #[test]
    fn who_comes_late_listens_first_as_often_as_it_comes_late() {
        let mut ticks = Ticks::start();
        let deadline = ticks.not_before + Duration::from_secs(5);
        let mut now = deadline;
        for _ in 0..3 {
            now += Duration::from_secs(3);
            assert!(!ticks.may_tick(deadline, now));
            now += CATCH_UP;
            assert_eq!(ticks.due(deadline), now);
        }
        assert!(ticks.may_tick(deadline, now));
    }
}
