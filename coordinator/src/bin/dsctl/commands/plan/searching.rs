//! `--search`, with a word on stderr when it takes long.

use std::time::Duration;

use ds_forecast::search::{Found, Machine, search as find, space};
use ds_plan::JobPlan;
use ds_plan::spec::JobSpec;
use ds_topology::fabric::Fabric;

use crate::clock::now;
use crate::output::talk;

const PATIENCE: Duration = Duration::from_secs(1);

/// Every layout on all GPUs of the fabric, or on as many as the job takes.
pub(super) fn search(spec: &JobSpec, plan: &JobPlan, machine: &Machine, fabric: Option<&Fabric>) -> Found {
    let n_gpus = fabric.map_or(plan.grid().n_ranks(), Fabric::n_gpus);
    let hardware = &machine.hardware;
    let space = space(spec, n_gpus, hardware.nvlink_gpus, hardware.memory_bytes as u64);
    let mut last = now();
    find(spec, &space, machine, &mut |done, all| {
        if done < all && last.elapsed() >= PATIENCE {
            last = now();
            talk(format_args!("search: {done} of {all} layouts"));
        }
    })
}
