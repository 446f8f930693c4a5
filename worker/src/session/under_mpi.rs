//! A whole job under `mpirun`, without a coordinator: every process is a rank, and rank 0 tells.

use std::cell::RefCell;
use std::path::Path;

use ds_plan::spec::{DeviceKind, JobSpec};
use ds_plan::{JobPlan, RankId};

use super::steps::{Witness, all_steps};
use crate::agent::Report;
use crate::comm::Mpi;
use crate::error::RankError;
use crate::trainer::{Setup, Trainer};

/// Who hears what rank 0 has to say.
pub type Tell<'a> = &'a mut dyn FnMut(&Report);

struct OneOfMany<'a> {
    rank: RankId,
    tell: RefCell<Tell<'a>>,
}

impl Witness for OneOfMany<'_> {
    fn wants_stop(&self) -> bool {
        false
    }

    fn hear(&self, report: Report) {
        if self.rank == RankId(0) {
            (self.tell.borrow_mut())(&report);
        }
    }

    fn go_on(&self) -> Result<(), RankError> {
        Ok(())
    }
}

/// Trains the job as one of the processes that `mpirun` started; checkpoints and tokens lie in `folder`, from whose
/// newest checkpoint it goes on. The updates done.
///
/// # Errors
/// When `mpirun` started another number of processes than the job has ranks, and as other ranks fail.
pub fn under_mpi(mpi: &Mpi, spec: JobSpec, folder: &Path, tell: Tell<'_>) -> Result<u64, RankError> {
    let plan = JobPlan::new(spec)?;
    let (n_ranks, n_started) = (plan.grid().n_ranks(), mpi.n_ranks());
    if n_started != n_ranks as usize {
        return Err(RankError::Processes { n_ranks, n_started });
    }
    let endpoint = mpi.endpoint(n_started)?.expect("every process is a rank");
    tch::set_num_threads(i32::try_from(plan.spec().cluster.threads).unwrap_or(i32::MAX));
    let device = match plan.spec().cluster.device {
        DeviceKind::Cpu => "cpu".to_owned(),
        DeviceKind::Cuda => format!("cuda:{}", mpi.index_on_node()),
    };
    let setup = Setup { device, checkpoints: folder.join("checkpoints"), token_cache: folder.join("tokens") };
    let mut trainer = Trainer::new(&plan, mpi.rank(), &endpoint, setup)?;
    let mut step = trainer.n_updates();
    all_steps(&mut trainer, &plan, &OneOfMany { rank: mpi.rank(), tell: RefCell::new(tell) }, &mut step)?;
    endpoint.close();
    Ok(step)
}
