//! What people, node agents and ranks tell the owner.

use ds_plan::spec;
use ds_proto::v1::{self, node_report, rank_report};
use tonic::Status;

use super::super::ServerError;
use super::super::door::{Message, Orders, Reply, StreamId, Watched};
use super::super::wire;
use super::{Owner, plan};
use crate::cluster::{ByRank, Event, RankRun, Submission};
use crate::home;
use crate::runs;

impl Owner {
    /// Deals with one message. Fails only when nothing can be kept any more. Whoever asked and left is not waited for.
    pub(super) fn take(&mut self, message: Message) -> Result<(), ServerError> {
        match message {
            Message::Submit { spec_yaml, priority, reply } => self.submit(&spec_yaml, priority, reply)?,
            Message::List { reply } => {
                let _ = reply.send(Ok(self.cluster.jobs().into_iter().map(|job| self.view(job)).collect()));
            }
            Message::Get { job, reply } => {
                let _ = reply.send(self.get(&job));
            }
            Message::Nodes { reply } => {
                let _ = reply.send(Ok(self.cluster.nodes().map(wire::node).collect()));
            }
            Message::Cancel { job, at_once, reply } => self.cancel(job, at_once, reply)?,
            Message::Resume { job, reply } => self.resume(job, reply)?,
            Message::Watch { job, reply } => {
                let _ = reply.send(self.watch(&job)?);
            }
            Message::NodeAttached { register, stream, orders, reply } => {
                self.attach_node(&register, stream, orders, reply)?;
            }
            Message::NodeSays { node, stream, report } if self.nodes.is_newest(&node, stream) => {
                self.hear_node(node, report)?;
            }
            Message::NodeLeft { node, stream } if self.nodes.close(&node, stream) => {
                self.step(Event::NodeLeft { node })?;
            }
            Message::RankAttached { register, stream, orders, reply } => {
                self.attach_rank(register, stream, orders, reply)?;
            }
            Message::RankSays { rank, stream, report } if self.ranks.is_newest(&rank, stream) => {
                self.hear_rank(rank, report)?;
            }
            Message::RankLeft { rank, stream } => {
                // It comes back, or its node says how it ended, or it is silent for too long.
                self.ranks.close(&rank, stream);
            }
            Message::Baseline { job, nats_per_byte } => self.step(Event::BaselineCounted { job, nats_per_byte })?,
            Message::Shutdown { reply } => {
                self.closing = Some(reply);
                self.step(Event::Closing)?;
            }
            // From a stream that a newer one has replaced.
            Message::NodeSays { .. } | Message::NodeLeft { .. } | Message::RankSays { .. } => {}
        }
        Ok(())
    }

    fn submit(&mut self, given: &str, priority: Option<i32>, reply: Reply<String>) -> Result<(), ServerError> {
        let submission = match self.submission(given, priority) {
            Ok(submission) => submission,
            Err(status) => {
                let _ = reply.send(Err(status));
                return Ok(());
            }
        };
        let (id, plan) = (submission.id.clone(), submission.plan.clone());
        self.step(Event::Submitted(submission))?;
        self.count_baseline(id.clone(), plan);
        let _ = reply.send(Ok(id));
        Ok(())
    }

    /// A job, with its folder made.
    fn submission(&self, given: &str, priority: Option<i32>) -> Result<Submission, Status> {
        let plan = plan(given).map_err(Status::invalid_argument)?;
        let spec_yaml = spec::to_yaml(plan.spec());
        let id = runs::id(&plan.spec().name, self.cluster.next_number());
        let secret = home::secret().map_err(|error| Status::internal(error.to_string()))?;
        let created = self.runs.create(&id, &spec_yaml);
        created.map_err(|error| Status::internal(format!("the job's folder cannot be made: {error}")))?;
        Ok(Submission { id, spec_yaml, plan, priority, secret })
    }

    fn get(&self, job: &str) -> Result<v1::Job, Status> {
        self.cluster.job(job).map(|job| self.view(job)).map_err(|refusal| wire::refused(&refusal))
    }

    fn cancel(&mut self, job: String, at_once: bool, reply: Reply<v1::Job>) -> Result<(), ServerError> {
        let answer = match self.cluster.may_cancel(&job) {
            Err(refusal) => Err(wire::refused(&refusal)),
            Ok(()) => {
                self.step(Event::Cancelled { job: job.clone(), at_once })?;
                self.get(&job)
            }
        };
        let _ = reply.send(answer);
        Ok(())
    }

    fn resume(&mut self, job: String, reply: Reply<v1::Job>) -> Result<(), ServerError> {
        let allowed = self.cluster.may_resume(&job).map_err(|refusal| wire::refused(&refusal));
        let planned = allowed.and_then(|()| {
            let job = self.cluster.job(&job).map_err(|refusal| wire::refused(&refusal))?;
            plan(&job.spec_yaml).map_err(Status::failed_precondition)
        });
        let answer = match planned {
            Err(status) => Err(status),
            Ok(plan) => {
                self.step(Event::Resumed { job: job.clone(), plan })?;
                self.count_missing_baselines();
                self.get(&job)
            }
        };
        let _ = reply.send(answer);
        Ok(())
    }

    fn watch(&mut self, job: &str) -> Result<Result<Watched, Status>, ServerError> {
        let view = match self.get(job) {
            Ok(view) => view,
            Err(status) => return Ok(Err(status)),
        };
        let up_to = self.store.newest_row()?;
        let news = self.hub.follow(job);
        if wire::has_ended(&view) {
            // There is no news to come.
            self.hub.forget(job);
        }
        Ok(Ok(Watched { job: view, news, up_to }))
    }

    fn attach_node(
        &mut self,
        register: &v1::NodeRegister,
        stream: StreamId,
        orders: Orders<v1::NodeOrder>,
        reply: Reply<()>,
    ) -> Result<(), ServerError> {
        let admitted = self.cluster.admits_node(&register.name, self.clock.now());
        let node = admitted.map_err(|refusal| wire::refused(&refusal)).and_then(|()| wire::inventory(register));
        let answer = match node {
            Err(status) => Err(status),
            Ok(node) => {
                self.nodes.open(node.name.clone(), stream, orders);
                self.step(Event::NodeJoined { node, running: wire::running(register) })?;
                Ok(())
            }
        };
        let _ = reply.send(answer);
        Ok(())
    }

    fn hear_node(&mut self, node: String, report: node_report::Report) -> Result<(), ServerError> {
        match wire::of_rank(report) {
            Some((run, said)) => self.step(Event::OfRank { node, run, said }),
            None => self.step(Event::NodeHeard { node }),
        }
    }

    fn attach_rank(
        &mut self,
        register: v1::RankRegister,
        stream: StreamId,
        orders: Orders<v1::RankOrder>,
        reply: Reply<()>,
    ) -> Result<(), ServerError> {
        let v1::RankRegister { job, attempt, rank, .. } = register;
        let run = RankRun { job, attempt, rank };
        let answer = match self.cluster.admits(&run) {
            Err(refusal) => Err(wire::refused(&refusal)),
            Ok(()) => {
                self.ranks.open(run.clone(), stream, orders);
                self.step(Event::ByRank { run, said: ByRank::Registered })?;
                Ok(())
            }
        };
        let _ = reply.send(answer);
        Ok(())
    }

    fn hear_rank(&mut self, run: RankRun, report: rank_report::Report) -> Result<(), ServerError> {
        match wire::by_rank(report) {
            Some(said) => self.step(Event::ByRank { run, said }),
            None => Ok(()),
        }
    }
}
