//! Which machine a plan is for: a kind of GPU, and a network.

use std::path::PathBuf;

use ds_forecast::hardware::{Hardware, hardware, usual};
use ds_plan::spec::JobSpec;
use ds_topology::fabric::Fabric;

use crate::failure::Failure;
use crate::machine::{calibrated, fabric_of, hardware_named, preset};

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
        let fabric = fabric_of(self.fabric.as_deref(), spec)?;
        let mut assumptions = Vec::new();
        let mut hardware = match &self.calibration {
            Some(path) => calibrated(path)?,
            None => {
                let named = hardware_named(self.hardware.as_deref(), spec, fabric.as_ref());
                let (name, is_assumed) = named.map_or((usual(spec.cluster.device), true), |name| (name, false));
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

fn price(text: &str) -> Result<f64, String> {
    let number = text.trim_start_matches('$').parse::<f64>().ok();
    number.filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(|| "write dollars, such as 2.0".to_owned())
}
