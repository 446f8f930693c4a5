//! The fabric that a job is played on.

use ds_forecast::hardware::{Hardware, PRESETS};
use ds_plan::JobPlan;
use ds_plan::spec::DeviceKind;
use ds_topology::fabric::Fabric;

use crate::failure::Failure;
use crate::machine::{hardware_named, preset, usual};

/// The machine that a job's ranks run on: the one asked for, or that of the job, or that of the fabric, or, for ranks on
/// cores, a CPU.
pub(super) fn hardware(asked: Option<&str>, plan: &JobPlan, fabric: &Fabric) -> Result<Hardware, Failure> {
    let device = plan.spec().cluster.device;
    let on_cores = (device == DeviceKind::Cpu).then(|| usual(device));
    let name = hardware_named(asked, plan.spec(), Some(fabric)).or(on_cores);
    preset(name.ok_or_else(|| Failure::NoHardware { known: PRESETS.join(", ").to_lowercase() })?)
}
