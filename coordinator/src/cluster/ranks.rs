//! Ranks come, train, and go.

use std::time::Duration;

use ds_plan::RankId;
use ds_plan::spec::DeviceKind;
use ds_proto::StepMetrics;

use super::attempt::START_MAX;
use super::ending::END_GRACE;
use super::failure::FaultKind;
use super::{
    Attempt, ByRank, Cluster, Effect, Job, JobState, Listening, News, OfRank, Peers, Phase, Progress, RankMemory,
    RankRun, Time, Wanted,
};

/// A rank that waited as long as it may is on its way for a moment more.
const RETURN_MARGIN: Duration = Duration::from_secs(3);

impl Cluster {
    /// What a node agent says of a rank.
    pub(super) fn of_rank(&mut self, node: &str, run: &RankRun, said: OfRank, now: Time, out: &mut Vec<Effect>) {
        self.on_node_heard(node, now);
        let has_ended = !matches!(said, OfRank::Started { .. });
        if has_ended && self.nodes.get(node).is_some_and(|at| at.held.iter().any(|held| held.run == *run)) {
            self.node_mut(node).free(run);
            self.is_seating_due = true;
        }
        if self.rank_of(run).is_none_or(|rank| rank.node != node) {
            if !has_ended {
                // Nobody wants it any more.
                out.push(Effect::EndRank { node: node.to_owned(), run: run.clone(), grace: END_GRACE });
            }
            return;
        }
        self.change(&run.job, now, out, |job, out| {
            let attempt = job.attempt.as_mut().expect("it has this rank");
            match said {
                OfRank::Started { .. } => attempt.on_process(&job.id, run.rank, out),
                OfRank::NotStarted { reason } => {
                    attempt.lose(&job.id, &[run.rank], &FaultKind::NotStarted { reason }, now, out);
                }
                OfRank::Exited(exit) => attempt.on_exit(&job.id, run.rank, exit, now, out),
            }
        });
    }

    /// What a rank says.
    pub(super) fn by_rank(&mut self, run: &RankRun, said: ByRank, now: Time, out: &mut Vec<Effect>) {
        if self.rank_of(run).is_none() {
            return;
        }
        let job = self.jobs.get_mut(&run.job).expect("it has this rank");
        let attempt = job.attempt.as_mut().expect("it has this rank");
        attempt.heard(run.rank, now + job.terms.heartbeat_timeout);
        if matches!(said, ByRank::Heartbeat) {
            return;
        }
        let grace = self.orphan_grace(&self.jobs[&run.job]);
        self.change(&run.job, now, out, |job, out| match said {
            ByRank::Heartbeat => {}
            ByRank::Registered => job.on_registered(run.rank, grace, out),
            ByRank::Listening { addresses } => job.on_listening(run.rank, addresses, out),
            ByRank::Ready { resumed_step } => job.on_ready(run.rank, resumed_step, now, out),
            ByRank::Step(metrics) => job.on_step(metrics, out),
            ByRank::Evaluation(evaluation) => {
                job.tell(News::Evaluation(evaluation.clone()), evaluation.step, out);
                job.last_evaluation = Some(evaluation);
            }
            ByRank::Memory { peak_bytes } => {
                job.on_memory(run.rank, peak_bytes);
            }
            ByRank::Checkpoint { step, folder, seconds } => {
                job.checkpoint = Some(folder.clone());
                let note = format!("checkpoint of step {step}, saved in {seconds:.1} s");
                job.tell(News::Checkpoint { folder, seconds }, step, out);
                job.tell(News::Note(note), step, out);
            }
            ByRank::Failed { blame, message, culprit, .. } => {
                let kind = FaultKind::Failed { blame, message, culprit };
                let attempt = job.attempt.as_mut().expect("it has this rank");
                attempt.fault(&job.id, run.rank, kind, now, out);
            }
            ByRank::Finished { step, stopped } => {
                job.step = step;
                let attempt = job.attempt.as_mut().expect("it has this rank");
                attempt.on_finished(&job.id, run.rank, stopped, now, out);
            }
        });
    }

    /// Of the newest attempt only.
    fn rank_of(&self, run: &RankRun) -> Option<&super::Rank> {
        let attempt = self.jobs.get(&run.job)?.attempt.as_ref()?;
        attempt.ranks.get(run.rank as usize).filter(|_| attempt.number == run.attempt)
    }
}

impl Attempt {
    /// A rank has a process.
    fn on_process(&mut self, job: &str, rank: u32, out: &mut Vec<Effect>) {
        let run = self.run(job, rank as usize);
        let of = &mut self.ranks[rank as usize];
        of.progress = of.progress.max(Progress::Started);
        if of.told_to_end && of.progress != Progress::Gone {
            out.push(Effect::EndRank { node: of.node.clone(), run, grace: END_GRACE });
        }
    }

    fn heard(&mut self, rank: u32, deadline: Time) {
        let of = &mut self.ranks[rank as usize];
        if of.progress != Progress::Gone && of.finished.is_none() {
            of.deadline = Some(deadline);
            of.awaited = None;
        }
    }

    fn peers(&self) -> Peers {
        let listening = |(number, of): (u32, &super::Rank)| Listening {
            rank: number,
            node: of.node.clone(),
            addresses: of.addresses.clone(),
        };
        (0..).zip(&self.ranks).map(listening).collect()
    }
}

impl Job {
    /// A coordinator has taken it up: its ranks may still be there.
    pub(super) fn come_back(&mut self, grace: Duration, now: Time, out: &mut Vec<Effect>) {
        if self.plan.is_none() {
            let reason = "this version cannot read the job's spec\nhint: launch it anew".to_owned();
            self.attempt = None;
            return self.end(JobState::Failed, reason, now, out);
        }
        let Some(attempt) = &mut self.attempt else { return };
        if grace.is_zero() {
            let all: Vec<u32> = (0..attempt.ranks.len() as u32).collect();
            return attempt.lose(&self.id, &all, &FaultKind::Orphaned { after: grace }, now, out);
        }
        for rank in &mut attempt.ranks {
            if rank.progress == Progress::Gone {
                rank.deadline = rank.finished.is_none().then_some(now + RETURN_MARGIN);
            } else if rank.progress < Progress::Registered {
                rank.deadline = Some(now + START_MAX);
            } else {
                rank.deadline = rank.finished.is_none().then_some(now + grace + RETURN_MARGIN);
                rank.awaited = Some(grace);
            }
        }
    }

    fn on_registered(&mut self, number: u32, orphan_grace: Duration, out: &mut Vec<Effect>) {
        let Some(attempt) = &mut self.attempt else { return };
        let run = attempt.run(&self.id, number as usize);
        let rank = &mut attempt.ranks[number as usize];
        if rank.progress == Progress::Gone || attempt.ending.is_some() {
            return;
        }
        rank.progress = rank.progress.max(Progress::Registered);
        out.push(Effect::Configure { run: run.clone(), device: rank.device, orphan_grace });
        // What it may have missed.
        if attempt.phase >= Phase::Connecting {
            out.push(Effect::Connect { run: run.clone(), peers: attempt.peers() });
        }
        if attempt.phase >= Phase::Running {
            out.push(Effect::Go { run: run.clone() });
        }
        if self.wanted == Wanted::Stop {
            out.push(Effect::Stop { run, checkpoint: true });
        }
    }

    fn on_listening(&mut self, number: u32, addresses: Vec<String>, out: &mut Vec<Effect>) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.ending.is_none()) else { return };
        if !attempt.reach(number, Progress::Listening) {
            return;
        }
        attempt.ranks[number as usize].addresses = addresses;
        if attempt.phase > Phase::Starting {
            out.push(Effect::Connect { run: attempt.run(&self.id, number as usize), peers: attempt.peers() });
        } else if attempt.all_reached(Progress::Listening) {
            attempt.phase = Phase::Connecting;
            let peers = attempt.peers();
            let connect = |rank| Effect::Connect { run: attempt.run(&self.id, rank), peers: peers.clone() };
            out.extend((0..attempt.ranks.len()).map(connect));
        }
    }

    fn on_ready(&mut self, number: u32, resumed_step: u64, now: Time, out: &mut Vec<Effect>) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.ending.is_none()) else { return };
        if !attempt.reach(number, Progress::Ready) {
            return;
        }
        attempt.ranks[number as usize].resumed_step = Some(resumed_step);
        if attempt.phase == Phase::Running {
            out.push(Effect::Go { run: attempt.run(&self.id, number as usize) });
        } else if attempt.phase == Phase::Connecting && attempt.all_reached(Progress::Ready) {
            let first = attempt.ranks[0].resumed_step.unwrap_or(0);
            let other =
                |(number, rank): (u32, &super::Rank)| Some((number, rank.resumed_step.filter(|&own| own != first)?));
            match (0..).zip(&attempt.ranks).find_map(other) {
                Some((number, own)) => {
                    attempt.fault(&self.id, number, FaultKind::Disagrees { own, first }, now, out);
                }
                None => self.go(first, out),
            }
        }
    }

    fn go(&mut self, resumed_step: u64, out: &mut Vec<Effect>) {
        let Some(attempt) = &mut self.attempt else { return };
        attempt.phase = Phase::Running;
        out.extend((0..attempt.ranks.len()).map(|rank| Effect::Go { run: attempt.run(&self.id, rank) }));
        self.step = resumed_step;
        if resumed_step > 0 {
            self.note(format!("attempt {} goes on from step {resumed_step}", self.n_attempts), out);
        }
        self.become_state(JobState::Running, String::new(), out);
    }

    fn on_memory(&mut self, rank: u32, peak_bytes: u64) {
        let on_cores = self.plan.as_ref().filter(|plan| plan.spec().cluster.device == DeviceKind::Cpu);
        let planned_bytes = on_cores.map(|plan| plan.memory(RankId(rank)).of_cores());
        let before = self.memory.get(&rank).map_or(0, |memory| memory.peak_bytes);
        self.memory.insert(rank, RankMemory { rank, peak_bytes: peak_bytes.max(before), planned_bytes });
    }

    fn on_step(&mut self, metrics: StepMetrics, out: &mut Vec<Effect>) {
        let metrics = StepMetrics { attempt: self.n_attempts, ..metrics };
        self.step = metrics.step;
        self.last_step = Some(StepMetrics { loads: Vec::new(), ..metrics.clone() });
        let step = metrics.step;
        self.tell(News::Step(metrics), step, out);
    }
}
