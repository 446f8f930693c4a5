//! Which machine a job is for: what was asked on the command line, else what the job says.

use std::path::Path;

use ds_forecast::hardware::{Hardware, PRESETS, hardware, named_by};
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

/// The preset that stands for a kind of device where nobody names one.
pub(crate) fn usual(device: DeviceKind) -> &'static str {
    match device {
        DeviceKind::Cpu => "CPU",
        // What DeepSeek-V3 was trained on.
        DeviceKind::Cuda => "H800",
    }
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
