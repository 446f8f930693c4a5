//! How an attempt ends: why, who is told, and how long it may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, Progress, Rank, START_MAX};
use super::failure::{Fault, FaultKind};
use super::{Effect, RankRun, Time};

/// Ranks that are said to have failed are not told to end for so long, so that their own last words are heard.
pub(super) const HOLD_BACK: Duration = Duration::from_secs(2);
/// Between the signal to end and the kill.
pub(super) const END_GRACE: Duration = Duration::from_secs(1);
/// An attempt that is to end has ended after this, whatever is still silent.
pub(super) const END_MAX: Duration = Duration::from_secs(4);
/// Ranks that are done leave by themselves within this.
pub(super) const LEAVE_MAX: Duration = Duration::from_secs(10);

/// Since when and why an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// When it began to end.
    pub since: Time,
    /// Why.
    pub why: Why,
}

/// Why an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Every rank has finished.
    Finished,
    /// Somebody wants it.
    Cancelled,
    /// The coordinator ends and takes its ranks with it.
    Closing,
    /// Something went wrong.
    Fault,
}

impl Attempt {
    /// Whether ranks of it are still welcome.
    pub(super) fn is_live(&self) -> bool {
        self.ending.is_none_or(|ending| ending.why == Why::Finished)
    }

    /// Something went wrong: the others are told to end at once.
    pub(super) fn fault(&mut self, job: &str, rank: u32, kind: FaultKind, now: Time, out: &mut Vec<Effect>) {
        if self.ending.is_some_and(|ending| ending.why != Why::Fault) {
            return;
        }
        let is_late = self.ranks[rank as usize].told_to_end;
        self.faults.push(Fault { rank, kind, is_late });
        self.ending.get_or_insert(Ending { since: now, why: Why::Fault });
        let suspects: Vec<u32> = self.faults.iter().flat_map(Fault::suspects).collect();
        self.tell_to_end(job, END_GRACE, |rank| !suspects.contains(&rank), out);
    }

    /// It is to end, for another reason.
    pub(super) fn end(&mut self, job: &str, why: Why, now: Time, out: &mut Vec<Effect>) {
        if self.ending.is_none_or(|ending| ending.why == Why::Finished && why != Why::Finished) {
            self.ending = Some(Ending { since: now, why });
        }
        if why != Why::Finished {
            self.tell_to_end(job, END_GRACE, |_| true, out);
        }
    }

    fn tell_to_end(&mut self, job: &str, grace: Duration, is_meant: impl Fn(u32) -> bool, out: &mut Vec<Effect>) {
        let attempt = self.number;
        for (number, rank) in (0..).zip(&mut self.ranks) {
            if !rank.told_to_end && rank.progress != Progress::Gone && is_meant(number) {
                rank.told_to_end = true;
                let run = RankRun { job: job.to_owned(), attempt, rank: number };
                out.push(Effect::EndRank { node: rank.node.clone(), run, grace });
            }
        }
    }

    /// What is due because time has passed.
    pub(super) fn pass_time(&mut self, job: &str, silent_max: Duration, now: Time, out: &mut Vec<Effect>) {
        let late = |rank: &Rank| rank.deadline.is_some_and(|deadline| deadline <= now);
        for number in 0..self.ranks.len() {
            if !late(&self.ranks[number]) {
                continue;
            }
            let rank = &mut self.ranks[number];
            rank.deadline = None;
            let kind = match rank.progress {
                Progress::Gone => FaultKind::Exited,
                Progress::Ordered | Progress::Started => FaultKind::NeverRegistered { after: START_MAX },
                _ => match rank.awaited {
                    Some(after) => FaultKind::Orphaned { after },
                    None => FaultKind::Silent { after: silent_max },
                },
            };
            self.fault(job, number as u32, kind, now, out);
        }
        let Some(ending) = self.ending else { return };
        let (tell_after, grace) = match ending.why {
            Why::Finished => (LEAVE_MAX, Duration::ZERO),
            _ => (HOLD_BACK, END_GRACE),
        };
        if ending.since + tell_after <= now {
            self.tell_to_end(job, grace, |_| true, out);
        }
    }

    /// Whether nothing more is to be waited for.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.ending.is_some_and(|ending| self.is_gone() || self.over_at(ending) <= now)
    }

    fn over_at(&self, ending: Ending) -> Time {
        match ending.why {
            Why::Finished => ending.since + LEAVE_MAX + END_MAX,
            _ => ending.since + END_MAX,
        }
    }

    /// When time must be told to it.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let Some(ending) = self.ending else {
            return self.ranks.iter().filter_map(|rank| rank.deadline).min();
        };
        let is_told = self.ranks.iter().all(|rank| rank.told_to_end || rank.progress == Progress::Gone);
        let tell_after = if ending.why == Why::Finished { LEAVE_MAX } else { HOLD_BACK };
        Some(if is_told { self.over_at(ending) } else { ending.since + tell_after })
    }
}
