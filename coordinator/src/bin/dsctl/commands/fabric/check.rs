//! `dsctl fabric check`: every mistake at once, and whether all nodes reach each other.

use std::sync::Arc;

use ds_topology::routing::reachable;
use serde_json::json;

use super::source::FabricArgs;
use crate::failure::Failure;
use crate::output::{Exit, Format, FormatArgs, data, json};

/// Check that a network can be built and that all GPUs reach each other
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    fabric: FabricArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let fabric = Arc::new(self.fabric.read()?);
        let cut_off = |error| Failure::CutOff { given: self.fabric.name().to_owned(), error };
        reachable(&fabric).map_err(cut_off)?;
        let counts = fabric.counts();
        match self.format.format {
            Format::Text => data(format_args!(
                "{}: {} endpoints, {} switches, {} cables; every GPU reaches every other",
                fabric.name(),
                counts.endpoints,
                counts.switches,
                counts.links
            ))?,
            Format::Json => json(&json!({ "name": fabric.name(), "reachable": true, "endpoints": counts.endpoints }))?,
        }
        Ok(Exit::Done)
    }
}
