//! Whether a job fits on this machine, asked before anything starts.

use ds_plan::{JobPlan, SeatsFree, seats};
use ds_topology::GpuId;

use crate::failure::Failure;

/// Refuses what this machine can never seat.
pub(crate) fn fits_here(plan: &JobPlan) -> Result<(), Failure> {
    let here = [SeatsFree { node: "this machine".to_owned(), n_cores: n_cores(), gpus: gpus() }];
    seats(plan, &here, &here).map(|_| ()).map_err(Failure::NoRoom)
}

/// That this process may use.
fn n_cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// One folder a GPU; none without a driver. The node agent asks the driver itself, which takes a second.
fn gpus() -> Vec<GpuId> {
    let folders = std::fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().count();
    (0..u16::try_from(folders).unwrap_or(u16::MAX)).map(GpuId).collect()
}
