//! What is known of a run so far: the curve, where the time went, how fast it is.

use std::collections::BTreeMap;

/// One optimizer update, as far as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) step: u64,
    /// Nats per token.
    pub(crate) loss: f64,
    pub(crate) maxvio: f64,
    pub(crate) bubble_share: f64,
    pub(crate) tokens: u64,
    pub(crate) seconds: f64,
    pub(crate) seconds_by_cause: Vec<(String, f64)>,
}

/// One look at the held-out text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Evaluation {
    pub(crate) step: u64,
    /// Nats per token.
    pub(crate) loss: f64,
    pub(crate) nats_per_byte: f64,
}

/// Steps that the rate of a live line looks back: enough to be calm, few enough to follow.
const RECENT: usize = 20;

/// What is known of a run so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    losses: Vec<(u64, f64)>,
    maxvios: Vec<(u64, f64)>,
    evaluations: Vec<Evaluation>,
    recent: Vec<(u64, f64)>,
    newest: Option<Step>,
    seconds_by_cause: BTreeMap<String, f64>,
    tokens: u64,
    seconds: f64,
}

impl History {
    /// A step was taken. Steps that are taken again after a restart replace what was known of them; the time that they
    /// took the first time stays spent.
    pub(crate) fn on_step(&mut self, step: Step) {
        self.losses.truncate(self.losses.partition_point(|(s, _)| *s < step.step));
        self.losses.push((step.step, step.loss));
        self.maxvios.truncate(self.maxvios.partition_point(|(s, _)| *s < step.step));
        self.maxvios.push((step.step, step.maxvio));
        self.evaluations.truncate(self.evaluations.partition_point(|e| e.step < step.step));
        for (cause, seconds) in &step.seconds_by_cause {
            *self.seconds_by_cause.entry(cause.clone()).or_default() += seconds;
        }
        self.tokens += step.tokens;
        self.seconds += step.seconds;
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push((step.tokens, step.seconds));
        self.newest = Some(step);
    }

    /// The held-out text was looked at.
    pub(crate) fn on_evaluation(&mut self, evaluation: Evaluation) {
        self.evaluations.truncate(self.evaluations.partition_point(|e| e.step < evaluation.step));
        self.evaluations.push(evaluation);
    }

    /// The newest step.
    pub(crate) fn newest(&self) -> Option<&Step> {
        self.newest.as_ref()
    }

    /// The newest evaluation.
    pub(crate) fn evaluation(&self) -> Option<&Evaluation> {
        self.evaluations.last()
    }

    /// (step, nats per token) of every step.
    pub(crate) fn losses(&self) -> Vec<(f64, f64)> {
        self.losses.iter().map(|&(step, loss)| (step as f64, loss)).collect()
    }

    /// (step, nats per token) of every evaluation.
    pub(crate) fn validation_losses(&self) -> Vec<(f64, f64)> {
        self.evaluations.iter().map(|e| (e.step as f64, e.loss)).collect()
    }

    /// Of the first and the newest step.
    pub(crate) fn maxvio(&self) -> Option<(f64, f64)> {
        Some((self.maxvios.first()?.1, self.maxvios.last()?.1))
    }

    /// Of the newest steps; none before the first.
    pub(crate) fn tokens_per_second(&self) -> Option<f64> {
        let (tokens, seconds) =
            self.recent.iter().fold((0, 0.0), |(t, s), (tokens, seconds)| (t + tokens, s + seconds));
        (seconds > 0.0).then(|| tokens as f64 / seconds)
    }

    /// Of all steps.
    pub(crate) fn mean_tokens_per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.tokens as f64 / self.seconds)
    }

    /// Until step `n_steps`, at the rate of the newest steps.
    pub(crate) fn seconds_left(&self, n_steps: u64) -> Option<f64> {
        let (_, seconds) = self.recent.iter().fold((0, 0.0), |(t, s), (tokens, seconds)| (t + tokens, s + seconds));
        let left = n_steps.saturating_sub(self.newest()?.step);
        Some(seconds / self.recent.len() as f64 * left as f64)
    }

    /// Seconds of all steps by cause, in the order of names.
    pub(crate) fn seconds_by_cause(&self) -> Vec<(String, f64)> {
        self.seconds_by_cause.iter().map(|(cause, seconds)| (cause.clone(), *seconds)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, loss: f64) -> Step {
        let seconds_by_cause = vec![("compute".to_owned(), 1.5), ("data".to_owned(), 0.5)];
        Step { step, loss, maxvio: loss / 10.0, bubble_share: 0.1, tokens: 100, seconds: 2.0, seconds_by_cause }
    }

    fn after(steps: &[(u64, f64)]) -> History {
        let mut history = History::default();
        for &(at, loss) in steps {
            history.on_step(step(at, loss));
        }
        history
    }

    #[test]
    fn steps_that_are_taken_again_replace_what_was_known_and_their_time_stays_spent() {
        let mut history = after(&[(1, 5.0), (2, 4.0), (3, 3.0)]);
        history.on_evaluation(Evaluation { step: 3, loss: 3.1, nats_per_byte: 3.1 });
        history.on_step(step(2, 4.5));
        assert_eq!(history.losses(), [(1.0, 5.0), (2.0, 4.5)]);
        assert_eq!(history.evaluation(), None);
        assert_eq!(history.seconds_by_cause(), [("compute".to_owned(), 6.0), ("data".to_owned(), 2.0)]);
    }

    #[test]
    fn the_rate_is_tokens_by_seconds() {
        let history = after(&[(1, 5.0), (2, 4.0)]);
        assert_eq!(history.tokens_per_second(), Some(50.0));
        assert_eq!(history.mean_tokens_per_second(), Some(50.0));
        assert_eq!(history.seconds_left(12), Some(20.0));
        assert_eq!(history.seconds_left(1), Some(0.0));
    }

    #[test]
    fn before_the_first_step_nothing_is_known() {
        let history = History::default();
        assert_eq!(history.tokens_per_second(), None);
        assert_eq!(history.seconds_left(12), None);
        assert_eq!(history.maxvio(), None);
    }

    #[test]
    fn maxvio_is_that_of_the_first_and_of_the_newest_step() {
        assert_eq!(after(&[(1, 5.0), (2, 4.0), (3, 3.0)]).maxvio(), Some((0.5, 0.3)));
    }
}
