//! Whom the tests play, and what they are told.

use std::sync::Arc;
use std::time::Duration;

use ds_plan::JobPlan;
use ds_plan::spec::{JobSpec, read};
use ds_proto::StepMetrics;
use ds_topology::{Gpu, GpuId, Node as Inventory};

use crate::cluster::{ByRank, Cluster, Effect, Event, Exit, Job, JobState, News, OfRank, RankRun, Submission, Time};
use crate::store::Snapshot;

/// A cluster, the time, and every effect so far.
pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) now: Time,
    pub(super) effects: Vec<Effect>,
    kept: Snapshot,
    can_read: bool,
}

/// The tiny model on so many stages.
pub(super) fn spec(n_ranks: u32) -> JobSpec {
    let text = format!(
        "version: 1
kind: train
name: tiny
model: {{ preset: tiny }}
data: {{ train: /train, tokenizer: bytes }}
parallel: {{ pipeline: {n_ranks} }}
train:
  - {{ steps: 10, sequence: 32, batch: 16, microbatch: 2, learning_rate: {{ peak: 1.0e-3, warmup: 0 }} }}
balance: {{ policy: none, sequence_weight: 0.0 }}
checkpoint: {{ every: 0, keep: 1 }}
cluster: {{ device: cpu, share_devices: false, max_restarts: 2, heartbeat_timeout: 5s, comm_timeout: 60s }}
"
    );
    read(&text, "job.yaml", &[]).unwrap().spec
}

pub(super) fn inventory(name: &str, n_cores: u32, n_gpus: u16) -> Inventory {
    let gpu = |id| Gpu { id: GpuId(id), name: "made up".to_owned(), memory_bytes: 80 << 30 };
    let gpus = (0..n_gpus).map(gpu).collect();
    Inventory { name: name.to_owned(), n_cores, memory_bytes: 1 << 30, gpus, nics: Vec::new() }
}

pub(super) fn run(job: &str, attempt: u32, rank: u32) -> RankRun {
    RankRun { job: job.to_owned(), attempt, rank }
}

pub(super) fn exit(code: Option<i32>, signal: Option<i32>) -> OfRank {
    OfRank::Exited(Exit { code, signal, last_lines: vec!["its last line".to_owned()] })
}

impl World {
    /// A coordinator that runs alone.
    pub(super) fn new() -> Self {
        Self::with(Cluster::new(false))
    }

    pub(super) fn embedded() -> Self {
        Self::with(Cluster::new(true))
    }

    fn with(cluster: Cluster) -> Self {
        let mut world =
            Self { cluster, now: Time(1_000_000), effects: Vec::new(), kept: Snapshot::default(), can_read: true };
        world.on(Event::Started);
        world
    }

    /// What is to be done about an event. The state in writing keeps up.
    pub(super) fn on(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.cluster.on(event, self.now);
        self.cluster.write_to(&mut self.kept);
        self.effects.extend(effects.iter().cloned());
        effects
    }

    /// Time passes, and is told when it is due.
    pub(super) fn wait(&mut self, duration: Duration) -> Vec<Effect> {
        let end = self.now + duration;
        let mut effects = Vec::new();
        while let Some(due) = self.cluster.next_deadline().filter(|&due| due <= end) {
            assert!(due >= self.now || self.now == end, "{due:?} was due before {:?}", self.now);
            self.now = due.max(self.now);
            effects.extend(self.on(Event::Tick));
            assert!(self.cluster.next_deadline() != Some(due), "{due:?} is due for ever");
        }
        self.now = end;
        effects
    }

    /// The coordinator dies; another one takes up what was kept.
    pub(super) fn restart(&mut self, is_embedded: bool) -> Vec<Effect> {
        let plans: Vec<(String, Arc<JobPlan>)> =
            self.cluster.jobs().iter().filter_map(|job| Some((job.spec_yaml.clone(), job.plan.clone()?))).collect();
        let plan =
            |yaml: &str| plans.iter().find(|(known, _)| self.can_read && known == yaml).map(|(_, plan)| plan.clone());
        let cluster = Cluster::restore(&self.kept, is_embedded, plan).unwrap();
        self.cluster = cluster;
        self.on(Event::Started)
    }

    /// The next coordinator is of a version that reads no spec of this one.
    pub(super) fn forget_plans(&mut self) {
        self.can_read = false;
    }

    pub(super) fn join(&mut self, name: &str, n_cores: u32) -> Vec<Effect> {
        self.join_with(name, n_cores, &[])
    }

    pub(super) fn join_with(&mut self, name: &str, n_cores: u32, running: &[RankRun]) -> Vec<Effect> {
        self.on(Event::NodeJoined { node: inventory(name, n_cores, 0), running: running.to_vec() })
    }

    pub(super) fn submit(&mut self, n_ranks: u32) -> String {
        self.submit_spec(spec(n_ranks), None)
    }

    pub(super) fn submit_spec(&mut self, spec: JobSpec, priority: Option<i32>) -> String {
        let id = crate::runs::id(&spec.name, self.cluster.next_number());
        let plan = Arc::new(JobPlan::new(spec).unwrap());
        // Made up too; it only has to tell specs apart.
        let submission =
            Submission { id: id.clone(), spec_yaml: id.clone(), plan, priority, secret: "secret".to_owned() };
        self.on(Event::Submitted(submission));
        id
    }

    pub(super) fn cancel(&mut self, job: &str, at_once: bool) -> Vec<Effect> {
        self.on(Event::Cancelled { job: job.to_owned(), at_once })
    }

    pub(super) fn resume(&mut self, job: &str) -> Vec<Effect> {
        let plan = Arc::new(JobPlan::new(spec(self.job(job).terms.n_ranks)).unwrap());
        self.on(Event::Resumed { job: job.to_owned(), plan })
    }

    /// The node of a rank says something of it.
    pub(super) fn of(&mut self, run: &RankRun, said: OfRank) -> Vec<Effect> {
        let node = self.node_of(run);
        self.on(Event::OfRank { node, run: run.clone(), said })
    }

    pub(super) fn by(&mut self, run: &RankRun, said: ByRank) -> Vec<Effect> {
        self.on(Event::ByRank { run: run.clone(), said })
    }

    /// Where it was started.
    pub(super) fn node_of(&self, run: &RankRun) -> String {
        let node = |effect: &Effect| match effect {
            Effect::StartRank { node, run: started, .. } if started == run => Some(node.clone()),
            _ => None,
        };
        self.effects.iter().find_map(node).unwrap_or_else(|| panic!("{run} was never started"))
    }

    pub(super) fn job(&self, id: &str) -> &Job {
        self.cluster.job(id).unwrap()
    }

    pub(super) fn state(&self, id: &str) -> JobState {
        self.job(id).state
    }

    /// Every rank of the newest attempt.
    pub(super) fn runs(&self, job: &str) -> Vec<RankRun> {
        let (attempt, n_ranks) = (self.job(job).n_attempts, self.job(job).terms.n_ranks);
        (0..n_ranks).map(|rank| run(job, attempt, rank)).collect()
    }

    /// All ranks of a job, up to the moment where they train.
    pub(super) fn train(&mut self, job: &str, resumed_step: u64) -> Vec<RankRun> {
        let runs = self.runs(job);
        for run in &runs {
            self.of(run, OfRank::Started { pid: 100 + run.rank });
            self.by(run, ByRank::Registered);
        }
        for run in &runs {
            self.by(run, ByRank::Listening { addresses: vec![format!("127.0.0.1:{}", 4000 + run.rank)] });
        }
        for run in &runs {
            self.by(run, ByRank::Ready { resumed_step });
        }
        assert_eq!(self.state(job), JobState::Running);
        runs
    }

    pub(super) fn step(&mut self, run: &RankRun, step: u64) {
        self.by(run, ByRank::Step(StepMetrics { step, loss: 1.0, ..StepMetrics::default() }));
    }

    /// Every rank says that it is done, and leaves.
    pub(super) fn finish(&mut self, runs: &[RankRun], step: u64, stopped: bool) {
        for run in runs {
            self.by(run, ByRank::Finished { step, stopped });
        }
        for run in runs {
            self.of(run, exit(Some(0), None));
        }
    }

    /// Heartbeats of all, every second.
    pub(super) fn live(&mut self, seconds: u64, nodes: &[&str], runs: &[RankRun]) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..seconds {
            for &node in nodes {
                self.on(Event::NodeHeard { node: node.to_owned() });
            }
            for run in runs {
                effects.extend(self.by(run, ByRank::Heartbeat));
            }
            effects.extend(self.wait(Duration::from_secs(1)));
        }
        effects
    }

    pub(super) fn notes(&self) -> Vec<&str> {
        self.effects.iter().filter_map(note).collect()
    }

    /// What is written is what is so.
    pub(super) fn assert_kept(&self) {
        for job in self.cluster.jobs() {
            assert_eq!(self.kept.jobs[&job.id], serde_json::to_string(job).unwrap());
        }
        for node in self.cluster.nodes() {
            assert_eq!(self.kept.nodes[&node.inventory.name], serde_json::to_string(node).unwrap());
        }
    }
}

/// Ranks that are told to start, as (node, run).
pub(super) fn starts(effects: &[Effect]) -> Vec<(&str, &RankRun)> {
    effects.iter().filter_map(start).collect()
}

fn start(effect: &Effect) -> Option<(&str, &RankRun)> {
    match effect {
        Effect::StartRank { node, run, .. } => Some((node, run)),
        _ => None,
    }
}

/// Ranks that are told to end.
pub(super) fn ends(effects: &[Effect]) -> Vec<u32> {
    let end = |effect: &Effect| match effect {
        Effect::EndRank { run, .. } => Some(run.rank),
        _ => None,
    };
    effects.iter().filter_map(end).collect()
}

fn note(effect: &Effect) -> Option<&str> {
    match effect {
        Effect::Tell { news: News::Note(text), .. } => Some(text),
        _ => None,
    }
}
