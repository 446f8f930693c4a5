//! The messages of `dsctl.v1`, to and from the words of the state machine.

use ds_proto::v1;
use ds_proto::v1::{node_report, rank_report};
use ds_topology::{Gpu, GpuId, Nic, NicId, Node as Inventory, PlaneId};
use tonic::Status;

use crate::cluster::{Blame, ByRank, Exit, Job, JobState, Node, OfRank, RankRun, Refusal};

/// Nothing more happens to it unless somebody asks.
pub(super) fn has_ended(job: &v1::Job) -> bool {
    matches!(job.state(), v1::JobState::Done | v1::JobState::Failed | v1::JobState::Cancelled)
}

/// All that people may know of a job.
pub(super) fn job(job: &Job, folder: String) -> v1::Job {
    v1::Job {
        id: job.id.clone(),
        name: job.name.clone(),
        state: state(job.state).into(),
        reason: job.reason.clone(),
        attempt: job.n_attempts,
        restarts: job.restarts,
        step: job.step,
        n_steps: job.terms.n_steps,
        n_ranks: job.terms.n_ranks,
        priority: job.terms.priority,
        folder,
        submitted_unix_ms: job.submitted.0,
        ended_unix_ms: job.ended.map_or(0, |ended| ended.0),
        seats: seats(job),
        last_step: job.last_step.clone().map(Into::into),
        last_evaluation: job.last_evaluation.clone().map(Into::into),
    }
}

fn seats(job: &Job) -> Vec<v1::Seat> {
    let Some(attempt) = &job.attempt else { return Vec::new() };
    let seat = |(number, rank): (u32, &crate::cluster::Rank)| v1::Seat {
        rank: number,
        node: rank.node.clone(),
        device: rank.device.to_string(),
        state: attempt.word(rank).to_owned(),
    };
    (0..).zip(&attempt.ranks).map(seat).collect()
}

fn state(state: JobState) -> v1::JobState {
    match state {
        JobState::Queued => v1::JobState::Queued,
        JobState::Starting => v1::JobState::Starting,
        JobState::Running => v1::JobState::Running,
        JobState::Stopping => v1::JobState::Stopping,
        JobState::Done => v1::JobState::Done,
        JobState::Failed => v1::JobState::Failed,
        JobState::Cancelled => v1::JobState::Cancelled,
    }
}

/// All that people may know of a node.
pub(super) fn node(node: &Node) -> v1::NodeView {
    let Inventory { name, n_cores, memory_bytes, gpus, nics } = &node.inventory;
    let nic = |nic: &Nic| format!("{} {} plane {}", nic.name, nic.address, nic.plane);
    v1::NodeView {
        name: name.clone(),
        n_cores: *n_cores,
        memory_bytes: *memory_bytes,
        gpus: gpus.iter().map(|gpu| gpu.name.clone()).collect(),
        nics: nics.iter().map(nic).collect(),
        alive: node.is_alive,
        seated: node.held.iter().map(|held| format!("{} rank {}", held.run.job, held.run.rank)).collect(),
    }
}

/// What a node brings, or what is wrong with what it says.
pub(super) fn inventory(register: &v1::NodeRegister) -> Result<Inventory, Status> {
    if register.name.is_empty() {
        return Err(Status::invalid_argument("a node needs a name\nhint: ds-worker node --name NAME"));
    }
    Ok(Inventory {
        name: register.name.clone(),
        n_cores: register.n_cores,
        memory_bytes: register.memory_bytes,
        gpus: register.gpus.iter().map(gpu).collect::<Result<_, _>>()?,
        nics: register.nics.iter().map(nic).collect::<Result<_, _>>()?,
    })
}

fn gpu(gpu: &v1::GpuInfo) -> Result<Gpu, Status> {
    let id = u16::try_from(gpu.id).map_err(|_| too_large("GPU", gpu.id))?;
    Ok(Gpu { id: GpuId(id), name: gpu.name.clone(), memory_bytes: gpu.memory_bytes })
}

fn nic(nic: &v1::NicInfo) -> Result<Nic, Status> {
    let address = nic.address.parse().map_err(|_| {
        Status::invalid_argument(format!("the NIC {} has {:?}, which is no IP address", nic.name, nic.address))
    })?;
    Ok(Nic {
        id: NicId(u16::try_from(nic.id).map_err(|_| too_large("NIC", nic.id))?),
        name: nic.name.clone(),
        address,
        plane: PlaneId(u8::try_from(nic.plane).map_err(|_| too_large("plane", nic.plane))?),
    })
}

fn too_large(what: &str, number: u32) -> Status {
    Status::invalid_argument(format!("{what} {number} is a number that no machine has"))
}

/// Ranks that a node says it runs.
pub(super) fn running(register: &v1::NodeRegister) -> Vec<RankRun> {
    let run = |rank: &v1::RunningRank| RankRun { job: rank.job.clone(), attempt: rank.attempt, rank: rank.rank };
    register.running.iter().map(run).collect()
}

/// What a node says of a rank. None for what is said otherwise.
pub(super) fn of_rank(report: node_report::Report) -> Option<(RankRun, OfRank)> {
    Some(match report {
        node_report::Report::Started(v1::RankStarted { job, attempt, rank, pid }) => {
            (RankRun { job, attempt, rank }, OfRank::Started { pid })
        }
        node_report::Report::NotStarted(v1::RankNotStarted { job, attempt, rank, reason }) => {
            (RankRun { job, attempt, rank }, OfRank::NotStarted { reason })
        }
        node_report::Report::Exited(v1::RankExited { job, attempt, rank, exit_code, signal, last_lines }) => {
            let exit = Exit { code: exit_code, signal, last_lines };
            (RankRun { job, attempt, rank }, OfRank::Exited(exit))
        }
        node_report::Report::Register(_) | node_report::Report::Heartbeat(_) | node_report::Report::Lines(_) => {
            return None;
        }
    })
}

/// What a rank says. None for a second registration on one stream.
pub(super) fn by_rank(report: rank_report::Report) -> Option<ByRank> {
    Some(match report {
        rank_report::Report::Register(_) => return None,
        rank_report::Report::Heartbeat(_) => ByRank::Heartbeat,
        rank_report::Report::Listening(v1::RankListening { addresses }) => ByRank::Listening { addresses },
        rank_report::Report::Ready(v1::RankReady { resumed_step }) => ByRank::Ready { resumed_step },
        rank_report::Report::Step(metrics) => ByRank::Step(metrics.into()),
        rank_report::Report::Evaluation(evaluation) => ByRank::Evaluation(evaluation.into()),
        rank_report::Report::Memory(v1::RankMemory { peak_bytes }) => ByRank::Memory { peak_bytes },
        rank_report::Report::Checkpoint(v1::CheckpointSaved { step, folder, seconds }) => {
            ByRank::Checkpoint { step, folder, seconds }
        }
        rank_report::Report::Failed(v1::RankFailed { kind, message, culprit, step }) => {
            ByRank::Failed { blame: blame(&kind), message, culprit, step }
        }
        rank_report::Report::Finished(v1::RankFinished { step, stopped }) => ByRank::Finished { step, stopped },
    })
}

fn blame(kind: &str) -> Blame {
    match kind {
        "peer" => Blame::Peer,
        "user" => Blame::User,
        "bug" => Blame::Bug,
        _ => Blame::World,
    }
}

/// A refusal, as callers see it.
pub(super) fn refused(refusal: &Refusal) -> Status {
    let text = refusal.to_string();
    match refusal {
        Refusal::NoSuchJob { .. } => Status::not_found(text),
        // It tries again, and is let in once nothing is heard of the other one.
        Refusal::NodeTaken { .. } => Status::unavailable(text),
        Refusal::HasEnded { .. } | Refusal::NotResumable { .. } | Refusal::NotWanted { .. } => {
            Status::failed_precondition(text)
        }
    }
}
