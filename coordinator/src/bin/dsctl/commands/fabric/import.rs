//! `dsctl fabric import`: a real cluster as a fabric's YAML, from what its tools print.

use std::fs;
use std::path::PathBuf;

use clap::ValueEnum;
use ds_topology::import::{Source, import};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{Exit, Format, FormatArgs, data, json};

/// Print a real cluster as a fabric's YAML, from what its tools print
#[derive(clap::Args)]
pub(super) struct Args {
    /// What the file is
    #[arg(value_enum, value_name = "KIND")]
    kind: Kind,
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// What `nvidia-smi topo -m` prints
    NvidiaSmi,
    /// What NCCL writes to NCCL_TOPO_DUMP_FILE
    Nccl,
    /// Slurm's topology.conf
    Slurm,
    /// What `kubectl get nodes -o json` prints
    Kubernetes,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let text =
            fs::read_to_string(&self.file).map_err(|source| Failure::Read { path: self.file.clone(), source })?;
        let source = match self.kind {
            Kind::NvidiaSmi => Source::NvidiaSmi,
            Kind::Nccl => Source::Nccl,
            Kind::Slurm => Source::Slurm,
            Kind::Kubernetes => Source::Kubernetes,
        };
        let refused = |error| Failure::Import { path: self.file.clone(), error };
        let imported = import(source, &text).map_err(refused)?;
        match self.format.format {
            Format::Text => {
                let given = || self.file.display().to_string();
                data(imported.to_yaml().map_err(|error| Failure::Fabric { given: given(), error })?)?;
            }
            Format::Json => json(&json!({ "spec": imported.spec, "assumed": imported.assumed }))?,
        }
        Ok(Exit::Done)
    }
}
