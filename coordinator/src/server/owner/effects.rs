//! What the state machine wants done. Nothing here waits, and nothing that fails here changes the state: whoever missed
//! an order attaches again and is told again.

use std::sync::Arc;

use ds_plan::JobPlan;
use ds_proto::v1::{self, node_order, rank_order, watch_event};
use tonic::Status;

use super::super::door::Message;
use super::super::{watch_stream, wire};
use super::Owner;
use crate::cluster::{Effect, Job, Listening, Peers, RankRun};
use crate::runs::{BaselineError, Facts, Summary};
use crate::store::Row;

impl Owner {
    /// Does it. Rows are those of the metrics among the effects, in order.
    pub(super) fn carry_out(&mut self, effect: Effect, rows: &mut impl Iterator<Item = Row>) {
        match effect {
            Effect::Welcome { node, heartbeat_timeout, orphan_grace } => {
                let welcome =
                    v1::NodeWelcome { heartbeat_timeout_ms: ms(heartbeat_timeout), orphan_grace_ms: ms(orphan_grace) };
                self.order_node(&node, node_order::Order::Welcome(welcome));
            }
            Effect::Detach { node, after } => {
                let silence = format!("nothing was heard of this node for {} s", after.as_secs_f64());
                self.nodes.cut(&node, Status::unavailable(silence));
            }
            Effect::StartRank { node, run: RankRun { job, attempt, rank }, device, threads, ranks_in_process } => {
                let device = device.to_string();
                let start = v1::StartRank { job, attempt, rank, device, threads, ranks_in_process };
                self.order_node(&node, node_order::Order::Start(start));
            }
            Effect::EndRank { node, run: RankRun { job, attempt, rank }, grace } => {
                let end = v1::EndRank { job, attempt, rank, grace_ms: ms(grace) };
                self.order_node(&node, node_order::Order::End(end));
            }
            Effect::Configure { run, device, orphan_grace } => {
                if let Some(configure) = self.configure(&run, device.to_string(), ms(orphan_grace)) {
                    self.order_rank(&run, rank_order::Order::Configure(configure));
                }
            }
            Effect::Connect { run, peers } => self.order_rank(&run, rank_order::Order::Connect(connect(&peers))),
            Effect::Go { run } => self.order_rank(&run, rank_order::Order::Go(v1::Go {})),
            Effect::Stop { run, checkpoint } => {
                self.order_rank(&run, rank_order::Order::Stop(v1::Stop { checkpoint }));
            }
            Effect::Release { job, attempt } => {
                self.ranks.retain(|run| run.job != job || run.attempt != attempt);
            }
            Effect::Tell { .. } => {
                let row = rows.next().expect("every metric that is told was kept");
                self.tell(&row);
            }
            Effect::Show { job, .. } => self.show(&job),
        }
    }

    fn order_node(&mut self, node: &String, order: node_order::Order) {
        self.nodes.send(node, v1::NodeOrder { order: Some(order) });
    }

    fn order_rank(&mut self, run: &RankRun, order: rank_order::Order) {
        self.ranks.send(run, v1::RankOrder { order: Some(order) });
    }

    fn configure(&self, run: &RankRun, device: String, orphan_grace_ms: u64) -> Option<v1::Configure> {
        let job = self.cluster.job(&run.job).ok()?;
        let folder = job.plan.as_ref()?.spec().checkpoint.folder.clone();
        let checkpoints = folder.unwrap_or_else(|| self.runs.checkpoints(&job.id));
        Some(v1::Configure {
            spec_yaml: job.spec_yaml.clone(),
            device,
            checkpoint_folder: checkpoints.display().to_string(),
            peer_token: job.peer_token(run.attempt),
            orphan_grace_ms,
            token_cache: self.token_cache.display().to_string(),
        })
    }

    fn tell(&mut self, row: &Row) {
        let job = &row.metric.job;
        let all = || {
            self.store.metrics(job).unwrap_or_else(|error| {
                tracing::warn!("metrics.jsonl of job {job} is not whole: {error}");
                Vec::new()
            })
        };
        if let Err(error) = self.runs.add_metric(row, all) {
            tracing::warn!("metrics.jsonl of job {job} lacks a line: {error}");
        }
        if self.hub.is_watched(job)
            && let Some(event) = watch_stream::event(row)
        {
            self.hub.tell(job, event);
        }
    }

    fn show(&mut self, id: &str) {
        let Ok(job) = self.cluster.job(id) else { return };
        let view = self.view(job);
        let has_ended = job.state.has_ended();
        if has_ended {
            self.sum_up(job);
        }
        self.hub.tell(id, watch_event::Event::Job(view));
        if has_ended {
            self.hub.forget(id);
        }
    }

    /// A job, for people.
    pub(super) fn view(&self, job: &Job) -> v1::Job {
        wire::job(job, self.runs.folder(&job.id).display().to_string())
    }

    fn sum_up(&self, job: &Job) {
        let facts = Facts {
            state: job.state.word().to_owned(),
            reason: job.reason.clone(),
            steps: job.step,
            restarts: job.restarts,
            wall_seconds: job.wall_seconds(),
            baseline_trigram: job.baseline,
            checkpoint: job.checkpoint.clone(),
            memory: job.memory.values().copied().collect(),
        };
        let rows = self.store.metrics(&job.id).unwrap_or_else(|error| {
            tracing::warn!("summary.json of job {} lacks its metrics: {error}", job.id);
            Vec::new()
        });
        if let Err(error) = self.runs.write_summary(&job.id, &Summary::new(facts, &rows)) {
            tracing::warn!("job {} has no summary: {error}", job.id);
        }
    }

    /// Of jobs that have not ended.
    pub(super) fn count_missing_baselines(&self) {
        for job in self.cluster.jobs() {
            if let (Some(plan), None) = (&job.plan, job.baseline) {
                self.count_baseline(job.id.clone(), plan.clone());
            }
        }
    }

    /// On a thread beside; the answer comes as a message.
    pub(super) fn count_baseline(&self, job: String, plan: Arc<JobPlan>) {
        let (baselines, inbox) = (self.baselines.clone(), self.inbox.clone());
        tokio::task::spawn_blocking(move || match baselines.of(plan.spec()) {
            Ok(nats_per_byte) => {
                if let Some(inbox) = inbox.upgrade() {
                    // If nobody takes it the coordinator ends.
                    let _ = inbox.blocking_send(Message::Baseline { job, nats_per_byte });
                }
            }
            Err(BaselineError::NoValidation) => {}
            Err(error) => tracing::warn!("job {job} has no baseline: {error}"),
        });
    }
}

fn connect(peers: &Peers) -> v1::Connect {
    let peer = |Listening { rank, node, addresses }| v1::PeerAddresses { rank, addresses, node };
    v1::Connect { peers: peers.iter().cloned().map(peer).collect() }
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
