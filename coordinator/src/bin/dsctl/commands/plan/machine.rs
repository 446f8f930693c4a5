//! Which machine a plan is for: a kind of GPU, and a network.

use std::fs;
use std::path::{Path, PathBuf};

use ds_forecast::hardware::{Hardware, PRESETS, hardware};
use ds_plan::spec::{DeviceKind, JobSpec};
use ds_topology::fabric::Fabric;

use crate::commands::fabric::read_fabric;
use crate::failure::Failure;

/// `--fabric`, `--hardware`, `--calibration`, `--price`.
#[derive(clap::Args)]
pub(super) struct MachineArgs {
    /// The network: a YAML file, or the name of one that comes with the program; the job's cluster.fabric when absent
    #[arg(long, value_name = "FABRIC")]
    fabric: Option<String>,
    /// The kind of GPU; the job's cluster.hardware or the fabric's when absent
    #[arg(long, value_name = "NAME")]
    hardware: Option<String>,
    /// What `dsctl calibrate` wrote, in place of a preset
    #[arg(long, value_name = "FILE", conflicts_with = "hardware")]
    calibration: Option<PathBuf>,
    /// Dollars for one GPU for one hour; the preset's when absent
    #[arg(long, value_name = "DOLLARS", value_parser = price)]
    price: Option<f64>,
}

/// A machine, and what was assumed about it.
pub(super) struct Chosen {
    pub(super) hardware: Hardware,
    pub(super) fabric: Option<Fabric>,
    pub(super) assumptions: Vec<String>,
}

impl MachineArgs {
    /// The calibrated machine in place of the preset of its name, for whoever asks for presets by name.
    pub(super) fn by_name(&self) -> Result<impl Fn(&str) -> Option<Hardware> + use<>, Failure> {
        let own = self.calibration.as_deref().map(calibrated).transpose()?;
        Ok(move |name: &str| match &own {
            Some(own) if own.name.eq_ignore_ascii_case(name) => Some(own.clone()),
            _ => hardware(name),
        })
    }

    pub(super) fn choose(&self, spec: &JobSpec) -> Result<Chosen, Failure> {
        let own = spec.cluster.fabric.as_ref().map(|path| path.to_string_lossy().into_owned());
        let fabric = self.fabric.clone().or(own).map(|given| read_fabric(&given)).transpose()?;
        let mut assumptions = Vec::new();
        let mut hardware = match &self.calibration {
            Some(path) => calibrated(path)?,
            None => {
                let of_fabric = fabric.as_ref().and_then(Fabric::gpu);
                let asked = self.hardware.as_deref().or(spec.cluster.hardware.as_deref()).or(of_fabric);
                let (name, is_assumed) = asked.map_or((usual(spec.cluster.device), true), |name| (name, false));
                if is_assumed {
                    assumptions.push(format!("The machine is {name}: neither the job nor the fabric names one."));
                }
                preset(name)?
            }
        };
        if fabric.is_none() {
            let (gpus, bandwidth) = (hardware.nvlink_gpus, hardware.nic_bandwidth / 1e9);
            assumptions.push(format!(
                "No fabric is given: nodes of {gpus}, joined at {bandwidth:.0} GB/s a GPU, without contention."
            ));
        }
        if let Some(price) = self.price {
            hardware.dollars_per_gpu_hour = price;
        }
        Ok(Chosen { hardware, fabric, assumptions })
    }
}

/// Whether a fabric has a GPU for every rank.
pub(super) fn large_enough(fabric: &Fabric, n_ranks: u32) -> Result<(), Failure> {
    let n_gpus = fabric.n_gpus();
    if n_gpus < n_ranks {
        return Err(Failure::FabricTooSmall { name: fabric.name().to_owned(), n_gpus, n_ranks });
    }
    Ok(())
}

fn usual(device: DeviceKind) -> &'static str {
    match device {
        DeviceKind::Cpu => "CPU",
        // What DeepSeek-V3 was trained on.
        DeviceKind::Cuda => "H800",
    }
}

fn preset(name: &str) -> Result<Hardware, Failure> {
    hardware(name).ok_or_else(|| Failure::NoSuchHardware { given: name.to_owned(), known: PRESETS.to_vec() })
}

fn calibrated(path: &Path) -> Result<Hardware, Failure> {
    let text = fs::read(path).map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    let refused = |error: serde_json::Error| Failure::Calibration { path: path.to_owned(), reason: error.to_string() };
    serde_json::from_slice(&text).map_err(refused)
}

fn price(text: &str) -> Result<f64, String> {
    let number = text.trim_start_matches('$').parse::<f64>().ok();
    number.filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(|| "write dollars, such as 2.0".to_owned())
}
