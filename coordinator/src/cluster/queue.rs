//! Who goes next: by priority, then first in first out. A job that waits holds back those behind it that want the same
//! kind of device, so that a large job is not overtaken for ever by small ones.

use ds_plan::spec::DeviceKind;
use ds_plan::{Seat, SeatError, SeatsFree, seats};

use super::attempt::{Attempt, Phase, Progress, Rank, START_MAX};
use super::{Cluster, Effect, Job, JobState, RankRun, Time};

impl Cluster {
    /// Seats whoever can be seated, and tells the others what they wait for.
    pub(super) fn seat_waiting(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.is_closing || !std::mem::take(&mut self.is_seating_due) {
            return;
        }
        let mut waiting: Vec<&Job> = self.jobs.values().filter(|job| job.state == JobState::Queued).collect();
        waiting.sort_by_key(|job| (std::cmp::Reverse(job.terms.priority), job.place));
        let waiting: Vec<String> = waiting.into_iter().map(|job| job.id.clone()).collect();
        let mut held_back: Vec<(DeviceKind, String)> = Vec::new();
        for id in waiting {
            let Some((device, plan)) = self.jobs[&id].plan.clone().map(|plan| (plan.spec().cluster.device, plan))
            else {
                continue;
            };
            if let Some((_, first)) = held_back.iter().find(|(kind, _)| *kind == device) {
                self.waits(&id, format!("waits behind {first}"), out);
                continue;
            }
            let (free, all) = self.inventory();
            match seats(&plan, &free, &all) {
                Ok(seats) => self.start(&id, &seats, now, out),
                Err(error) => {
                    // What fits on no node of this cluster holds nobody up.
                    if matches!(error, SeatError::Wait { .. }) {
                        held_back.push((device, id.clone()));
                    }
                    let reason = self.wait_reason(&error);
                    self.waits(&id, reason, out);
                }
            }
        }
    }

    fn inventory(&self) -> (Vec<SeatsFree>, Vec<SeatsFree>) {
        let nodes = || self.nodes.values().filter(|node| node.is_attached);
        (
            nodes().map(|node| node.seats_free()).collect(),
            nodes().map(|node| SeatsFree::whole(&node.inventory)).collect(),
        )
    }

    fn wait_reason(&self, error: &SeatError) -> String {
        if !self.nodes.values().any(|node| node.is_attached) {
            return "waits for a node: none is attached".to_owned();
        }
        let mut holders: Vec<&str> = self
            .nodes
            .values()
            .filter(|node| node.is_attached)
            .flat_map(|node| &node.held)
            .map(|held| held.run.job.as_str())
            .collect();
        holders.dedup();
        holders.sort_unstable();
        holders.dedup();
        match error {
            SeatError::Wait { .. } if !holders.is_empty() => format!("{error}; held by {}", holders.join(", ")),
            _ => error.to_string(),
        }
    }

    fn waits(&mut self, id: &str, reason: String, out: &mut Vec<Effect>) {
        if self.jobs[id].reason != reason {
            self.job_mut(id).become_state(JobState::Queued, reason, out);
        }
    }

    fn start(&mut self, id: &str, seats: &[Seat], now: Time, out: &mut Vec<Effect>) {
        let job = self.job_mut(id);
        job.n_attempts += 1;
        job.started.get_or_insert(now);
        let rank = |seat: &Seat| Rank {
            node: seat.node.clone(),
            device: seat.device,
            progress: Progress::Ordered,
            addresses: Vec::new(),
            resumed_step: None,
            finished: None,
            exit: None,
            told_to_end: false,
            deadline: Some(now + START_MAX),
            awaited: None,
        };
        let attempt = Attempt {
            number: job.n_attempts,
            phase: Phase::Starting,
            ranks: seats.iter().map(rank).collect(),
            faults: Vec::new(),
            ending: None,
        };
        let (attempt_number, threads) = (attempt.number, job.terms.threads);
        let ranks_in_process = job.terms.ranks_in_process();
        job.attempt = Some(attempt);
        job.become_state(JobState::Starting, String::new(), out);
        for seat in seats {
            let run = RankRun { job: id.to_owned(), attempt: attempt_number, rank: seat.rank.0 };
            self.node_mut(&seat.node).hold(run.clone(), seat.device, threads);
            let (node, device) = (seat.node.clone(), seat.device);
            out.push(Effect::StartRank { node, run, device, threads, ranks_in_process });
        }
    }
}
