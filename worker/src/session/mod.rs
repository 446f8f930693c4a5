//! The training thread of a rank: the coordinator's orders become a trainer, and the trainer's steps become reports.

use std::path::PathBuf;

use ds_plan::spec;
use ds_plan::{JobPlan, RankId};

use crate::agent::{Configure, Failure, Order, RankLink, Report, SessionEnd};
use crate::comm::{Endpoint, Listener};
use crate::error::RankError;
use crate::memory::MemoryWatch;
use crate::step::now;
use crate::trainer::{Setup, Trainer};

/// From the first order to the last step. Runs on the rank's training thread.
pub fn run(link: RankLink) -> SessionEnd {
    let mut step = 0;
    match train(&link, &mut step) {
        Ok(true) => SessionEnd::Stopped { step },
        Ok(false) => SessionEnd::Finished { step },
        Err(error) => SessionEnd::Failed(Failure {
            kind: error.kind(),
            message: error.to_string(),
            culprit: error.culprit(),
            step,
        }),
    }
}

/// True when it was stopped before its last step. `step` always holds the updates done.
fn train(link: &RankLink, step: &mut u64) -> Result<bool, RankError> {
    let (plan, endpoint, setup) = join(link)?;
    let memory = MemoryWatch::start();
    ds_kernels::reuse_blocks();
    let mut trainer = Trainer::new(&plan, RankId(link.rank()), &endpoint, setup)?;
    *step = trainer.n_updates();
    link.report(Report::Ready { resumed_step: *step });
    expect_go(link.next_order()?)?;

    let n_steps = plan.spec().train[0].steps;
    let mut stop = false;
    while *step < n_steps && !stop {
        let done = trainer.step(link.stop_wanted().is_some())?;
        *step = trainer.n_updates();
        stop = done.stop;
        if link.rank() == 0 {
            link.report(Report::Step(done.metrics));
        }
        let last = *step == n_steps;
        if last || due(*step, plan.spec().train[0].evaluate_every) {
            evaluate(&trainer, link)?;
        }
        if last || stop || due(*step, plan.spec().checkpoint.every) {
            save(&trainer, link)?;
        }
        link.wait_connected()?;
    }
    trainer.leave()?;
    if let Some(memory) = memory {
        link.report(Report::Memory { peak_bytes: memory.peak() });
    }
    endpoint.close();
    Ok(*step < n_steps)
}

/// The job and the mesh of peers.
fn join(link: &RankLink) -> Result<(JobPlan, Endpoint, Setup), RankError> {
    let configure = match link.next_order()? {
        Order::Configure(configure) => configure,
        other => return Err(out_of_turn("Configure", &other)),
    };
    let plan = JobPlan::new(spec::read(&configure.spec_yaml, "job.yaml", &[])?.spec)?;
    let endpoint = connect(link, &plan, &configure)?;
    let setup = Setup {
        device: configure.device,
        checkpoints: PathBuf::from(configure.checkpoint_folder),
        token_cache: PathBuf::from(configure.token_cache),
    };
    Ok((plan, endpoint, setup))
}

/// Listens, tells the coordinator where, and connects to all peers.
fn connect(link: &RankLink, plan: &JobPlan, configure: &Configure) -> Result<Endpoint, RankError> {
    let listener = Listener::bind(&configure.addresses)?;
    link.report(Report::Listening { addresses: listener.addresses().to_vec() });
    let peers = match link.next_order()? {
        Order::Connect(peers) => peers,
        other => return Err(out_of_turn("Connect", &other)),
    };
    let deadline = now() + plan.spec().cluster.comm_timeout;
    Ok(listener.connect(RankId(link.rank()), &peers, &configure.peer_token, link.attempt(), deadline)?)
}

fn evaluate(trainer: &Trainer, link: &RankLink) -> Result<(), RankError> {
    if let (Some(evaluation), 0) = (trainer.evaluate()?, link.rank()) {
        link.report(Report::Evaluation(evaluation));
    }
    Ok(())
}

fn save(trainer: &Trainer, link: &RankLink) -> Result<(), RankError> {
    let start = now();
    let folder = trainer.save()?;
    if link.rank() == 0 {
        let folder = folder.to_string_lossy().into_owned();
        link.report(Report::Checkpoint { step: trainer.n_updates(), folder, seconds: start.elapsed().as_secs_f64() });
    }
    Ok(())
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

fn expect_go(order: Order) -> Result<(), RankError> {
    match order {
        Order::Go => Ok(()),
        other => Err(out_of_turn("Go", &other)),
    }
}

fn out_of_turn(expected: &'static str, got: &Order) -> RankError {
    RankError::OutOfTurn { expected, got: format!("{got:?}") }
}
