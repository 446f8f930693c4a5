//! One job: what it wants and how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ds_plan::JobPlan;
use ds_plan::spec::NetworkKind;
use ds_proto::{Evaluation, StepMetrics};
use serde::{Deserialize, Serialize};

use super::{Attempt, Effect, News, Submission, Time};

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Such as `shakespeare-0001`.
    pub id: String,
    /// As its owner calls it.
    pub name: String,
    /// Resolved.
    pub spec_yaml: String,
    /// What peers show each other is made from it.
    pub secret: String,
    /// What of the spec counts here.
    pub terms: Terms,
    /// What it is up to.
    pub state: JobState,
    /// What it waits for, or why it ended.
    pub reason: String,
    /// Among jobs of the same priority lower goes first.
    pub place: u64,
    /// When it was handed in.
    pub submitted: Time,
    /// When ranks of it were first started.
    pub started: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// The number of the newest attempt.
    pub n_attempts: u32,
    /// Attempts that followed a failed one.
    pub restarts: u32,
    /// Of those, how many there were when somebody last asked for the job.
    pub restarts_before: u32,
    /// Updates done.
    pub step: u64,
    /// Without loads of experts, which are many.
    pub last_step: Option<StepMetrics>,
    /// Of the held-out data.
    pub last_evaluation: Option<Evaluation>,
    /// The newest whole one.
    pub checkpoint: Option<String>,
    /// Nats per byte of a trigram on the same data.
    pub baseline: Option<f64>,
    /// What ranks have needed of memory, by rank, as far as they have said.
    #[serde(default)]
    pub memory: BTreeMap<u32, RankMemory>,
    /// What somebody wants.
    pub wanted: Wanted,
    /// While it has one.
    pub attempt: Option<Attempt>,
    /// Of `spec_yaml`; no part of what is kept. None if this version cannot read it, or while nobody needs it.
    #[serde(skip)]
    pub plan: Option<Arc<JobPlan>>,
}

/// What a rank has needed of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankMemory {
    /// The seat.
    pub rank: u32,
    /// The most anonymous memory in any attempt, less that before it made its model.
    pub peak_bytes: u64,
    /// What the plan says of the same; none where it plans for the memory of a GPU.
    pub planned_bytes: Option<u64>,
}

/// What of a job's spec counts for keeping it alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Higher goes first.
    pub priority: i32,
    /// Of the grid.
    pub n_ranks: u32,
    /// Of the train section.
    pub n_steps: u64,
    /// Of a rank.
    pub threads: u32,
    /// Whether all ranks are threads of one process.
    #[serde(default)]
    pub one_process: bool,
    /// Attempts after the first.
    pub max_restarts: u32,
    /// A rank that is silent for longer is dead.
    pub heartbeat_timeout: Duration,
    /// How long ranks wait for a lost coordinator, if the job says so.
    pub orphan_grace: Option<Duration>,
}

/// What a job is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for seats.
    Queued,
    /// Its ranks are started, connect and take up weights.
    Starting,
    /// It trains.
    Running,
    /// It is told to stop, or its ranks are told to end.
    Stopping,
    /// It took its last step.
    Done,
    /// It cannot go on.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// What somebody wants of a job. Later ones are stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// That it trains.
    Run,
    /// That it saves a checkpoint and stops.
    Stop,
    /// That it ends.
    End,
}

impl JobState {
    /// Nothing more happens to it unless somebody asks.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// As people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Terms {
    /// Ranks of one process: all of them, or each has its own.
    pub(super) fn ranks_in_process(&self) -> u32 {
        if self.one_process { self.n_ranks } else { 1 }
    }

    fn new(plan: &JobPlan, priority: Option<i32>) -> Self {
        let cluster = &plan.spec().cluster;
        Self {
            priority: priority.unwrap_or(cluster.priority),
            n_ranks: plan.grid().n_ranks(),
            n_steps: plan.spec().train.iter().map(|phase| phase.steps).sum(),
            threads: cluster.threads.max(1),
            one_process: cluster.network == NetworkKind::Simulated,
            max_restarts: cluster.max_restarts,
            heartbeat_timeout: cluster.heartbeat_timeout,
            orphan_grace: cluster.orphan_grace,
        }
    }
}

impl Job {
    pub(super) fn new(submission: Submission, place: u64, now: Time) -> Self {
        let Submission { id, spec_yaml, plan, priority, secret } = submission;
        Self {
            id,
            name: plan.spec().name.clone(),
            spec_yaml,
            secret,
            terms: Terms::new(&plan, priority),
            state: JobState::Queued,
            reason: String::new(),
            place,
            submitted: now,
            started: None,
            ended: None,
            n_attempts: 0,
            restarts: 0,
            restarts_before: 0,
            step: 0,
            last_step: None,
            last_evaluation: None,
            memory: BTreeMap::new(),
            checkpoint: None,
            baseline: None,
            wanted: Wanted::Run,
            attempt: None,
            plan: Some(plan),
        }
    }

    pub(super) fn show(&self, out: &mut Vec<Effect>) {
        out.push(Effect::Show { job: self.id.clone(), attempt: self.n_attempts });
    }

    pub(super) fn tell(&self, news: News, step: u64, out: &mut Vec<Effect>) {
        out.push(Effect::Tell { job: self.id.clone(), attempt: self.n_attempts, step, news });
    }

    pub(super) fn note(&self, text: String, out: &mut Vec<Effect>) {
        self.tell(News::Note(text), self.step, out);
    }

    pub(super) fn become_state(&mut self, state: JobState, reason: String, out: &mut Vec<Effect>) {
        if (self.state, &self.reason) != (state, &reason) {
            (self.state, self.reason) = (state, reason);
            self.show(out);
        }
    }

    pub(super) fn end(&mut self, state: JobState, reason: String, now: Time, out: &mut Vec<Effect>) {
        self.ended = Some(now);
        (self.state, self.reason) = (state, reason);
        self.plan = None;
        self.show(out);
    }
}
