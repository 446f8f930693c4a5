//! All ranks of a job as threads of this process.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ds_model::StageModel;
use ds_plan::spec::{JobSpec, read};
use ds_plan::{JobPlan, RankId};
use ds_worker::comm::{self, Endpoint, Listener, Peer};
use ds_worker::step::{Slot, logical, now};
use ds_worker::trainer::{Setup, Trainer};
use tch::{Kind, Tensor};

use crate::job::Job;

/// What a rank came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trained {
    /// Loss of every step.
    pub losses: Vec<f64>,
    /// Gradient norm of every step.
    pub norms: Vec<f64>,
    /// Nats per token over the held-out text, at the end.
    pub validation: f64,
}

/// The plan of a job.
///
/// # Panics
/// When the job is refused.
pub fn plan(job: &Job) -> JobPlan {
    let spec: JobSpec = read(&job.yaml(), "job.yaml", job.sets()).unwrap_or_else(|problems| panic!("{problems}")).spec;
    JobPlan::new(spec).expect("the tests' jobs can be planned")
}

/// Trains `n_steps` on threads, from the newest checkpoint in `folder` if one is there, saving one at the end when
/// `save`; what rank 0 saw.
///
/// # Panics
/// When a rank fails.
pub fn train(job: &Job, folder: &Path, backend: Backend, n_steps: u64, save: bool) -> Trained {
    let plan = plan(job);
    on_threads(&plan, backend, |rank, endpoint| {
        let mut trainer = trainer(&plan, rank, endpoint, folder);
        let mut trained = Trained::default();
        for _ in 0..n_steps {
            let done = trainer.step(false).unwrap_or_else(|error| panic!("rank {}: {error}", rank.0));
            trained.losses.push(done.metrics.loss);
            trained.norms.push(done.metrics.grad_norm);
        }
        trained.validation = trainer.evaluate().expect("the held-out text").expect("there is some").loss;
        if save {
            trainer.save().expect("a checkpoint");
        }
        trainer.leave().expect("all ranks leave");
        trained
    })
    .swap_remove(0)
}

/// A rank's trainer.
///
/// # Panics
/// When it is refused.
pub fn trainer(plan: &JobPlan, rank: RankId, endpoint: &Endpoint, folder: &Path) -> Trainer {
    let setup =
        Setup { device: "cpu".to_owned(), checkpoints: folder.join("checkpoints"), token_cache: folder.join("tokens") };
    Trainer::new(plan, rank, endpoint, setup).unwrap_or_else(|error| panic!("rank {}: {error}", rank.0))
}

/// What `of` gives for every logical matrix that a rank holds, by name, in numbers.
///
/// # Panics
/// When something is no tensor of numbers.
pub fn by_name(model: &StageModel, of: impl Fn(Slot) -> Tensor) -> BTreeMap<String, Vec<f64>> {
    let numbers = |t: Tensor| Vec::try_from(t.to_kind(Kind::Double).flatten(0, -1)).expect("a tensor of numbers");
    logical(model).map(|(name, slot)| (name.to_owned(), numbers(of(slot)))).collect()
}

/// What all ranks hold by name; copies of one matrix must agree to the bit.
///
/// # Panics
/// When they do not.
pub fn joined(of_ranks: impl IntoIterator<Item = BTreeMap<String, Vec<f64>>>) -> BTreeMap<String, Vec<f64>> {
    let mut all = BTreeMap::new();
    for (name, values) in of_ranks.into_iter().flatten() {
        match all.get(&name) {
            Some(known) => assert!(*known == values, "two ranks have another {name}"),
            None => drop(all.insert(name, values)),
        }
    }
    all
}

/// How ranks on threads reach each other.
#[derive(Clone, Copy, Debug)]
pub enum Backend {
    /// Within the process.
    Threads,
    /// As processes do.
    Tcp,
}

/// Runs `body` once a rank, each on a thread; the results in the order of ranks.
///
/// # Panics
/// When a rank panics.
pub fn on_threads<T: Send>(plan: &JobPlan, backend: Backend, body: impl Fn(RankId, &Endpoint) -> T + Sync) -> Vec<T> {
    let n_ranks = plan.grid().n_ranks() as usize;
    let endpoints = match backend {
        Backend::Threads => comm::threads(n_ranks),
        Backend::Tcp => over_tcp(n_ranks),
    };
    thread::scope(|scope| {
        let body = &body;
        let ranks: Vec<_> = endpoints
            .into_iter()
            .zip(plan.grid().ranks())
            .map(|(endpoint, rank)| {
                scope.spawn(move || {
                    tch::set_num_threads(1);
                    let result = body(rank, &endpoint);
                    endpoint.close();
                    result
                })
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().expect("no rank panics")).collect()
    })
}

fn over_tcp(n_ranks: usize) -> Vec<Endpoint> {
    let listeners: Vec<Listener> = (0..n_ranks).map(|_| Listener::bind(&[]).expect("loopback")).collect();
    let peers: Vec<Peer> =
        (0..).map(RankId).zip(&listeners).map(|(rank, listener)| Peer::new(rank, listener.addresses())).collect();
    let peers = &peers;
    let deadline = now() + Duration::from_secs(120);
    thread::scope(|scope| {
        let join = |(rank, listener): (u32, Listener)| {
            scope.spawn(move || listener.connect(RankId(rank), peers, "token", 1, deadline).expect("peers are there"))
        };
        let ranks: Vec<_> = (0..).zip(listeners).map(join).collect();
        ranks.into_iter().map(|rank| rank.join().expect("no rank panics")).collect()
    })
}
