//! The training thread of a rank: the coordinator's orders become a trainer, and the trainer's steps become reports.

mod steps;
#[cfg(feature = "mpi")]
mod under_mpi;

use std::path::PathBuf;

use ds_plan::spec::{self, PlanesUse};
use ds_plan::{JobPlan, RankId};

use crate::agent::{Configure, Failure, Order, RankLink, Report, SessionEnd};
use crate::comm::{Endpoint, Listener, Wiring};
use crate::error::RankError;
use crate::memory::MemoryWatch;
use crate::step::now;
use crate::trainer::{Setup, Trainer};

use steps::{Witness, all_steps};
#[cfg(feature = "mpi")]
pub use under_mpi::{Tell, under_mpi};

/// From the first order to the last step. Runs on the rank's training thread; ranks of one process have their `endpoint`
/// already.
pub fn run(link: RankLink, endpoint: Option<Endpoint>) -> SessionEnd {
    let mut step = 0;
    match train(&link, endpoint, &mut step) {
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
fn train(link: &RankLink, endpoint: Option<Endpoint>, step: &mut u64) -> Result<bool, RankError> {
    // Of ranks that share a process, nobody knows whose memory is whose.
    let is_alone = endpoint.is_none();
    let (plan, endpoint, setup) = join(link, endpoint)?;
    let memory = if is_alone { MemoryWatch::start() } else { None };
    ds_kernels::reuse_blocks();
    let mut trainer = Trainer::new(&plan, RankId(link.rank()), &endpoint, setup)?;
    *step = trainer.n_updates();
    link.report(Report::Ready { resumed_step: *step });
    expect_go(link.next_order()?)?;

    let stopped = all_steps(&mut trainer, &plan, link, step)?;
    if let Some(memory) = memory {
        link.report(Report::Memory { peak_bytes: memory.peak() });
    }
    endpoint.close();
    Ok(stopped)
}

impl Witness for RankLink {
    fn wants_stop(&self) -> bool {
        self.stop_wanted().is_some()
    }

    fn hear(&self, report: Report) {
        if self.rank() == 0 {
            self.report(report);
        }
    }

    fn go_on(&self) -> Result<(), RankError> {
        Ok(self.wait_connected()?)
    }
}

/// The job and the mesh of peers.
fn join(link: &RankLink, endpoint: Option<Endpoint>) -> Result<(JobPlan, Endpoint, Setup), RankError> {
    let configure = match link.next_order()? {
        Order::Configure(configure) => configure,
        other => return Err(out_of_turn("Configure", &other)),
    };
    let plan = JobPlan::new(spec::read(&configure.spec_yaml, "job.yaml", &[])?.spec)?;
    let endpoint = match endpoint {
        Some(endpoint) => meet(link, endpoint)?,
        None => connect(link, &plan, &configure)?,
    };
    let setup = Setup {
        device: configure.device,
        checkpoints: PathBuf::from(configure.checkpoint_folder),
        token_cache: PathBuf::from(configure.token_cache),
    };
    Ok((plan, endpoint, setup))
}

/// Tells the coordinator that nobody needs an address of it, and waits until it knows that all peers are there.
fn meet(link: &RankLink, endpoint: Endpoint) -> Result<Endpoint, RankError> {
    link.report(Report::Listening { addresses: Vec::new() });
    match link.next_order()? {
        Order::Connect(_) => Ok(endpoint),
        other => Err(out_of_turn("Connect", &other)),
    }
}

/// Listens, tells the coordinator where, and connects to all peers.
fn connect(link: &RankLink, plan: &JobPlan, configure: &Configure) -> Result<Endpoint, RankError> {
    let wiring = match plan.spec().cluster.planes {
        PlanesUse::Any => Wiring::EveryTwo,
        PlanesUse::Own => Wiring::Planes { stripe: false },
        PlanesUse::Striped => Wiring::Planes { stripe: true },
    };
    let listener = Listener::bind(&configure.addresses)?.wired(wiring);
    link.report(Report::Listening { addresses: listener.addresses().to_vec() });
    let peers = match link.next_order()? {
        Order::Connect(peers) => peers,
        other => return Err(out_of_turn("Connect", &other)),
    };
    let deadline = now() + plan.spec().cluster.comm_timeout;
    Ok(listener.connect(RankId(link.rank()), &peers, &configure.peer_token, link.attempt(), deadline)?)
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
