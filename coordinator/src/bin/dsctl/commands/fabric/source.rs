//! Which fabric is meant: a file, or one that comes with the program; and what has failed in it.

use std::fs;
use std::io;

use ds_topology::fabric::{BUILT_IN, Fabric, FabricError, Fault, built_in};

use crate::failure::Failure;

/// `FABRIC` and `--fault`.
#[derive(clap::Args)]
pub(super) struct FabricArgs {
    /// A YAML file, or the name of a fabric that comes with the program
    #[arg(value_name = "FABRIC")]
    fabric: String,
    /// What has failed or is slow: plane=3, nic=node5/2, switch=leaf3.p2, link=P2.l0s1.up, with :x0.5 for half the rate
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<String>,
}

impl FabricArgs {
    pub(super) fn name(&self) -> &str {
        &self.fabric
    }

    pub(super) fn read(&self) -> Result<Fabric, Failure> {
        let refused = |error| Failure::Fault { given: self.fabric.clone(), error };
        let faults: Result<Vec<Fault>, _> = self.faults.iter().map(|text| text.parse()).collect();
        read_fabric(&self.fabric)?.with_faults(&faults.map_err(refused)?).map_err(refused)
    }
}

/// The fabric of a file, or of a name that comes with the program.
pub(crate) fn read_fabric(given: &str) -> Result<Fabric, Failure> {
    let text = match built_in(given) {
        Some(yaml) => yaml.to_owned(),
        None => fs::read_to_string(given).map_err(|source| unread(given, source))?,
    };
    let refused = |error: FabricError| Failure::Fabric { given: given.to_owned(), error };
    Fabric::parse(&text).map_err(refused)
}

fn unread(given: &str, source: io::Error) -> Failure {
    let is_name = !given.contains(['/', '.']);
    if source.kind() == io::ErrorKind::NotFound && is_name {
        let known = BUILT_IN.iter().map(|(name, _)| *name).collect();
        return Failure::NoSuchFabric { given: given.to_owned(), known };
    }
    Failure::Read { path: given.into(), source }
}
