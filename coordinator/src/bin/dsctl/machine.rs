//! Which machine a job is for: what was asked on the command line, else what the job says.

use std::path::Path;

use ds_forecast::hardware::{Hardware, PRESETS, hardware, named_by, usual};
use ds_plan::spec::{DeviceKind, JobSpec};
use ds_topology::fabric::Fabric;

use crate::commands::fabric::read_fabric;
use crate::failure::Failure;
use crate::files::read_bytes;

/// The fabric that was asked for, or that of the job, if either names one.
pub(crate) fn fabric_of(asked: Option<&str>, spec: &JobSpec) -> Result<Option<Fabric>, Failure> {
    let own = spec.cluster.fabric.as_ref().map(|path| path.to_string_lossy());
    asked.or(own.as_deref()).map(read_fabric).transpose()
}

/// The hardware that was asked for, or that of the job, or that of the fabric, if any of them names one.
pub(crate) fn hardware_named<'a>(
    asked: Option<&'a str>,
    spec: &'a JobSpec,
    fabric: Option<&'a Fabric>,
) -> Option<&'a str> {
    asked.or(named_by(spec, fabric))
}

/// The machine that a job is played on: the one asked for, or that of the job, or that of the fabric, or, for ranks on
/// cores, a CPU.
pub(crate) fn played_on(asked: Option<&str>, spec: &JobSpec, fabric: &Fabric) -> Result<Hardware, Failure> {
    let device = spec.cluster.device;
    let on_cores = (device == DeviceKind::Cpu).then(|| usual(device));
    let name = hardware_named(asked, spec, Some(fabric)).or(on_cores);
    preset(name.ok_or_else(|| Failure::NoHardware { known: PRESETS.join(", ").to_lowercase() })?)
}

/// The hardware of that name.
pub(crate) fn preset(name: &str) -> Result<Hardware, Failure> {
    hardware(name).ok_or_else(|| Failure::NoSuchHardware { given: name.to_owned(), known: PRESETS.to_vec() })
}

/// What `dsctl calibrate` wrote.
pub(crate) fn calibrated(path: &Path) -> Result<Hardware, Failure> {
    let text = read_bytes(path)?;
    let refused = |error: serde_json::Error| Failure::Calibration { path: path.to_owned(), reason: error.to_string() };
    serde_json::from_slice(&text).map_err(refused)
}
