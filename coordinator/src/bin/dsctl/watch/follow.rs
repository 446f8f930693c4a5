//! Follows one job until it has ended, and passes Ctrl-C on.

use std::time::Duration;

use ds_proto::v1;
use ds_proto::v1::watch_event::Event;
use tokio::time::sleep;

use super::history::{Evaluation, History, Step};
use super::screen::Screen;
use crate::client::Client;
use crate::facts::{has_ended, state};
use crate::failure::Failure;
use crate::interrupts::Interrupts;

/// A coordinator that comes back within this is waited for.
const RECONNECTS_MAX: usize = 60;
const RECONNECT_EVERY: Duration = Duration::from_millis(500);

/// What Ctrl-C is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnInterrupt {
    /// Stops the job: once after a checkpoint, twice at once.
    Stop,
    /// Stops the watching.
    Leave,
}

/// How the watching ended.
pub(crate) enum Ended {
    /// With the job.
    Job(Box<Told>),
    /// The watcher has seen enough.
    Left,
    /// Ctrl-C, again and again.
    Abandoned,
}

/// What a job told.
#[derive(Default)]
pub(crate) struct Told {
    /// As it is now.
    pub(crate) job: v1::Job,
    pub(crate) history: History,
}

/// Who follows, and how.
pub(crate) struct Follower<'a> {
    pub(crate) client: Client,
    pub(crate) screen: &'a mut Screen,
    pub(crate) interrupts: &'a mut Interrupts,
    pub(crate) on_interrupt: OnInterrupt,
    /// Whether a coordinator that is gone may come back.
    pub(crate) is_patient: bool,
}

impl Follower<'_> {
    /// Follows a job until it has ended.
    pub(crate) async fn follow(mut self, job: &str) -> Result<Ended, Failure> {
        let mut told = Told::default();
        let mut n_interrupts = 0;
        let mut events = self.client.watch(job, 0).await?;
        loop {
            tokio::select! {
                event = events.message() => match event {
                    Ok(Some(event)) => self.on(event, &mut told),
                    Ok(None) if has_ended(&told.job) => return Ok(Ended::Job(Box::new(told))),
                    Ok(None) => events = self.again(job, &told, self.gone("it ended")).await?,
                    Err(status) => events = self.again(job, &told, self.client.failure(&status)).await?,
                },
                () = self.interrupts.next() => match self.on_interrupt {
                    OnInterrupt::Leave => return Ok(Ended::Left),
                    OnInterrupt::Stop => {
                        n_interrupts += 1;
                        if n_interrupts > 2 {
                            return Ok(Ended::Abandoned);
                        }
                        self.stop(job, n_interrupts == 2).await?;
                    }
                },
            }
        }
    }

    async fn stop(&mut self, job: &str, at_once: bool) -> Result<(), Failure> {
        self.screen.note(if at_once {
            "stopping at once"
        } else {
            "saving a checkpoint, then stopping; Ctrl-C again stops at once"
        });
        match self.client.cancel(job, at_once).await {
            // It may have ended by itself meanwhile.
            Ok(_) | Err(Failure::Refused { .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    fn on(&mut self, event: v1::WatchEvent, told: &mut Told) {
        match event.event {
            Some(Event::Job(job)) => {
                if let Some(sentence) = change(&told.job, &job) {
                    self.screen.note(&sentence);
                }
                told.job = job;
            }
            Some(Event::Step(step)) => {
                told.history.on_step(step_of(step));
                self.screen.step(&told.history, told.job.n_steps);
            }
            Some(Event::Evaluation(evaluation)) => {
                let v1::Evaluation { step, loss, nats_per_byte, .. } = evaluation;
                told.history.on_evaluation(Evaluation { step, loss, nats_per_byte });
                self.screen.evaluation(step, nats_per_byte);
            }
            Some(Event::Note(sentence)) => self.screen.note(&sentence),
            // From a newer coordinator.
            None => {}
        }
    }

    /// Watches again from where the last watching broke off.
    async fn again(
        &mut self,
        job: &str,
        told: &Told,
        why: Failure,
    ) -> Result<tonic::Streaming<v1::WatchEvent>, Failure> {
        if !self.is_patient || !matches!(why, Failure::Gone { .. }) {
            return Err(why);
        }
        self.screen.note(&format!("{why}; waiting for it to come back"));
        let from_step = told.history.newest().map_or(0, |step| step.step + 1);
        for _ in 0..RECONNECTS_MAX {
            tokio::select! {
                () = sleep(RECONNECT_EVERY) => {}
                () = self.interrupts.next() => return Err(why),
            }
            match self.client.watch(job, from_step).await {
                Ok(events) => return Ok(events),
                Err(Failure::Gone { .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(why)
    }

    fn gone(&self, reason: &str) -> Failure {
        Failure::Gone { address: self.client.address().to_owned(), reason: reason.to_owned() }
    }
}

/// What is worth a sentence when a job changes.
fn change(before: &v1::Job, after: &v1::Job) -> Option<String> {
    let is_first = before.id.is_empty();
    if !is_first && before.state == after.state && before.reason == after.reason && before.attempt == after.attempt {
        return None;
    }
    let why = if after.reason.is_empty() { String::new() } else { format!(": {}", after.reason) };
    match after.state() {
        v1::JobState::Queued => Some(format!("{} is queued{why}", after.id)),
        v1::JobState::Starting => {
            let attempt = if after.attempt > 1 { format!(", attempt {}", after.attempt) } else { String::new() };
            Some(format!("{} starts {} ranks{attempt}", after.id, after.n_ranks))
        }
        v1::JobState::Running => Some(format!("{} runs, step {} of {}", after.id, after.step, after.n_steps)),
        v1::JobState::Stopping => Some(format!("{} is stopping{why}", after.id)),
        // The summary says it.
        v1::JobState::Done => None,
        v1::JobState::Failed | v1::JobState::Cancelled => {
            Some(format!("{} {} at step {}{why}", after.id, state(after), after.step))
        }
        v1::JobState::Unspecified => None,
    }
}

fn step_of(wire: v1::StepMetrics) -> Step {
    let v1::StepMetrics { step, loss, maxvio, bubble_share, tokens, seconds, seconds_by_cause, .. } = wire;
    let mut seconds_by_cause: Vec<(String, f64)> = seconds_by_cause.into_iter().collect();
    seconds_by_cause.sort_by(|a, b| a.0.cmp(&b.0));
    Step { step, loss, maxvio, bubble_share, tokens, seconds, seconds_by_cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: v1::JobState, reason: &str, attempt: u32) -> v1::Job {
        v1::Job {
            id: "tiny-1".to_owned(),
            state: state.into(),
            reason: reason.to_owned(),
            attempt,
            n_ranks: 4,
            n_steps: 20,
            ..v1::Job::default()
        }
    }

    #[test]
    fn a_change_of_state_is_a_sentence_and_a_step_is_none() {
        let queued = job(v1::JobState::Queued, "needs 4 cores, 2 are free", 0);
        assert_eq!(change(&v1::Job::default(), &queued).unwrap(), "tiny-1 is queued: needs 4 cores, 2 are free");
        let starts = job(v1::JobState::Starting, "", 2);
        assert_eq!(change(&queued, &starts).unwrap(), "tiny-1 starts 4 ranks, attempt 2");
        let running = job(v1::JobState::Running, "", 2);
        assert_eq!(change(&running, &v1::Job { step: 5, ..running.clone() }), None);
        let failed = job(v1::JobState::Failed, "rank 2 died", 2);
        assert_eq!(change(&running, &failed).unwrap(), "tiny-1 failed at step 0: rank 2 died");
    }
}
