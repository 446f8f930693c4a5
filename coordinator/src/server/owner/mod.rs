//! The task that owns the state: one event after the other is taken in, kept with what it led to, and carried out.

mod asks;
mod effects;
mod streams;
mod ticks;

use std::path::PathBuf;
use std::sync::Arc;

use ds_plan::{JobPlan, executable, spec};
use ds_proto::v1;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::ServerError;
use super::clock::Clock;
use super::door::{Message, Reply};
use super::hub::Hub;
use crate::cluster::{Cluster, Effect, Event, News, RankRun};
use crate::runs::{Baselines, Runs};
use crate::store::{Change, Kind, Metric, Snapshot, Store};
use streams::Streams;
use ticks::Ticks;

/// What an owner needs.
pub(super) struct Setting {
    pub(super) store: Store,
    pub(super) runs: Runs,
    /// Where token folders lie.
    pub(super) token_cache: PathBuf,
    pub(super) embedded: bool,
    /// The way back in, for what is worked out beside.
    pub(super) inbox: mpsc::WeakSender<Message>,
}

/// The owner of the state.
pub(super) struct Owner {
    cluster: Cluster,
    /// The cluster in writing.
    kept: Snapshot,
    store: Store,
    runs: Runs,
    baselines: Baselines,
    token_cache: PathBuf,
    inbox: mpsc::WeakSender<Message>,
    nodes: Streams<String, v1::NodeOrder>,
    ranks: Streams<RankRun, v1::RankOrder>,
    hub: Hub,
    clock: Clock,
    /// Told when all that ends with the coordinator has ended.
    closing: Option<Reply<()>>,
}

impl Owner {
    /// Takes up what an earlier coordinator left.
    pub(super) fn new(setting: Setting) -> Result<Self, ServerError> {
        let Setting { store, runs, token_cache, embedded, inbox } = setting;
        let mut cluster = match store.state() {
            None => Cluster::new(embedded),
            Some(kept) => Cluster::restore(kept, embedded, |yaml| plan(yaml).ok())
                .map_err(|error| ServerError::State { what: error.what, source: error.source })?,
        };
        cluster.skip_numbers(runs.newest_number());
        Ok(Self {
            cluster,
            kept: store.state().cloned().unwrap_or_default(),
            store,
            runs,
            baselines: Baselines::new(token_cache.clone()),
            token_cache,
            inbox,
            nodes: Streams::new(),
            ranks: Streams::new(),
            hub: Hub::default(),
            clock: Clock::start(),
            closing: None,
        })
    }

    /// Until it is told to end or nobody is left who could tell it anything.
    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>) -> Result<(), ServerError> {
        self.step(Event::Started)?;
        self.count_missing_baselines();
        let mut ticks = Ticks::start();
        loop {
            let deadline = self.cluster.next_deadline().map(|time| self.clock.at(time));
            let due = async {
                match deadline {
                    Some(deadline) => {
                        sleep_until(ticks.due(deadline)).await;
                        deadline
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.take(message)?,
                    None => return Ok(()),
                },
                deadline = due => if ticks.may_tick(deadline, Instant::now()) {
                    self.step(Event::Tick)?;
                },
            }
            if self.cluster.is_quiet()
                && let Some(reply) = self.closing.take()
            {
                let _ = reply.send(Ok(()));
                return Ok(());
            }
        }
    }

    /// Takes an event in, keeps it with what it led to, and carries that out.
    fn step(&mut self, event: Event) -> Result<(), ServerError> {
        let now = self.clock.now();
        let text = serde_json::to_string(&event).expect("an event is plain data with text keys");
        let effects = self.cluster.on(event, now);
        let metrics: Vec<Metric> = effects.iter().filter_map(metric).collect();
        let mut rows = Vec::new();
        // What changes nothing, such as a heartbeat, is not worth remembering.
        if self.cluster.write_to(&mut self.kept) || !metrics.is_empty() {
            let change = Change { unix_ms: now.0, event: &text, state: &self.kept, metrics: &metrics };
            rows = self.store.commit(&change)?;
        }
        let mut rows = rows.into_iter();
        for effect in effects {
            self.carry_out(effect, &mut rows);
        }
        Ok(())
    }
}

/// Something to remember of a job, as the store keeps it.
fn metric(effect: &Effect) -> Option<Metric> {
    let Effect::Tell { job, step, news, .. } = effect else { return None };
    let step = *step;
    let (kind, json) = match news {
        News::Step(metrics) => (Kind::Step, serde_json::json!(metrics)),
        News::Evaluation(evaluation) => (Kind::Evaluation, serde_json::json!(evaluation)),
        News::Checkpoint { folder, seconds } => {
            (Kind::Checkpoint, serde_json::json!({ "step": step, "folder": folder, "seconds": seconds }))
        }
        News::Note(text) => (Kind::Note, serde_json::json!({ "step": step, "text": text })),
    };
    Some(Metric { job: job.clone(), kind, step, json: json.to_string() })
}

/// A spec, read and planned, or all that is wrong with it.
fn plan(spec_yaml: &str) -> Result<Arc<JobPlan>, String> {
    let read = spec::read(spec_yaml, "job.yaml", &[]).map_err(|problems| problems.to_string())?;
    executable(&read.spec).map_err(|error| error.to_string())?;
    JobPlan::new(read.spec).map(Arc::new).map_err(|error| error.to_string())
}
