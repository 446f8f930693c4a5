//! The turns of a job's life: somebody wants it to stop or to go on, or its attempt is over.

use std::sync::Arc;

use ds_plan::JobPlan;

use super::failure::verdict;
use super::{Attempt, Effect, Job, JobState, Phase, Time, Wanted, Why};

impl Job {
    /// Somebody wants it to stop.
    pub(super) fn cancel(&mut self, at_once: bool, now: Time, out: &mut Vec<Effect>) {
        if self.state.has_ended() {
            return;
        }
        self.wanted = self.wanted.max(if at_once { Wanted::End } else { Wanted::Stop });
        let Some(attempt) = &mut self.attempt else {
            return self.end(JobState::Cancelled, "somebody cancelled it".to_owned(), now, out);
        };
        // Before it trains there is nothing to save.
        if self.wanted == Wanted::End || attempt.phase < Phase::Running {
            attempt.end(&self.id, Why::Cancelled, now, out);
        } else if attempt.is_live() {
            for rank in 0..attempt.ranks.len() {
                out.push(Effect::Stop { run: attempt.run(&self.id, rank), checkpoint: true });
            }
        }
        let reason = if self.wanted == Wanted::End { "at once" } else { "after a checkpoint" };
        self.become_state(JobState::Stopping, reason.to_owned(), out);
    }

    /// Somebody wants it to go on.
    pub(super) fn resume(&mut self, plan: Arc<JobPlan>, place: u64, out: &mut Vec<Effect>) {
        if !matches!(self.state, JobState::Failed | JobState::Cancelled) {
            return;
        }
        self.plan = Some(plan);
        self.place = place;
        self.ended = None;
        self.wanted = Wanted::Run;
        self.restarts_before = self.restarts;
        self.become_state(JobState::Queued, String::new(), out);
    }

    /// Its attempt is over: it is done, waits for the next attempt, or ends for good.
    pub(super) fn after_attempt(&mut self, attempt: &Attempt, now: Time, out: &mut Vec<Effect>) {
        let Some(ending) = attempt.ending else { return };
        out.push(Effect::Release { job: self.id.clone(), attempt: attempt.number });
        match ending.why {
            Why::Finished if attempt.ranks.iter().any(|rank| rank.finished == Some(true)) => {
                self.end(JobState::Cancelled, "it was stopped after a checkpoint".to_owned(), now, out);
            }
            Why::Finished => self.end(JobState::Done, String::new(), now, out),
            Why::Cancelled => self.end(JobState::Cancelled, "somebody cancelled it".to_owned(), now, out),
            Why::Closing if self.wanted != Wanted::Run => {
                self.end(JobState::Cancelled, "somebody cancelled it".to_owned(), now, out);
            }
            Why::Closing => self.become_state(JobState::Queued, "its coordinator has ended".to_owned(), out),
            Why::Fault => self.after_fault(attempt, now, out),
        }
    }

    fn after_fault(&mut self, attempt: &Attempt, now: Time, out: &mut Vec<Effect>) {
        let verdict = verdict(attempt);
        let number = attempt.number;
        if self.wanted != Wanted::Run {
            let reason = format!("somebody cancelled it; before it could save, {}", verdict.reason);
            return self.end(JobState::Cancelled, reason, now, out);
        }
        let max = self.terms.max_restarts;
        let n_used = self.restarts - self.restarts_before;
        if !verdict.is_worth_retrying {
            self.note(format!("attempt {number} ended: {}", verdict.reason), out);
            return self.end(JobState::Failed, verdict.reason, now, out);
        }
        if n_used >= max {
            self.note(format!("attempt {number} ended: {}", verdict.reason), out);
            let reason = format!("{}\nit was restarted {n_used} times, cluster.max_restarts is {max}", verdict.reason);
            return self.end(JobState::Failed, reason, now, out);
        }
        self.restarts += 1;
        let restart = format!("restart {} of {max}, from the newest whole checkpoint", n_used + 1);
        self.note(format!("attempt {number} ended: {}\n{restart}", verdict.reason), out);
        self.become_state(JobState::Queued, restart, out);
    }
}
