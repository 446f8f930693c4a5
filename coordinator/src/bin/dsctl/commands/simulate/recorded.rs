//! A recorded step in place of what the plan expects.

use std::path::Path;

use ds_forecast::hardware::Hardware;
use ds_forecast::recorded::{Prices, StepRecord, report};
use ds_forecast::simulate::{Epoch, PlannedStep, Stage, replay};
use ds_plan::JobPlan;
use ds_topology::EndpointId;
use ds_topology::fabric::Fabric;
use ds_topology::routing::{FabricRoutes, Policy};
use serde_json::json;

use super::trace;
use super::what_if::refused;
use crate::failure::Failure;
use crate::files::{read_text, write_text};
use crate::output::{Format, data, json as print};

/// What it is played on.
#[derive(Clone, Copy)]
pub(super) struct On<'a> {
    pub(super) plan: &'a JobPlan,
    pub(super) hardware: &'a Hardware,
    pub(super) seats: &'a [EndpointId],
    pub(super) fabric: &'a Fabric,
}

/// Writes what ranks would record of a planned step.
pub(super) fn write(path: &Path, step: &PlannedStep, fabric: &Fabric, routing: Policy) -> Result<(), Failure> {
    let mut routes = FabricRoutes::new(fabric.clone(), routing);
    let mut epoch = Epoch { from: 0.0, routes: &mut routes, down: fabric.down().to_vec() };
    let record = step.record(&mut epoch, None).map_err(|error| refused(&error))?;
    write_text(path, &json!(record).to_string())
}

pub(super) fn run(
    path: &Path,
    on: On<'_>,
    routing: Policy,
    trace: Option<&Path>,
    format: Format,
) -> Result<(), Failure> {
    let unread = |reason: String| Failure::Loads { path: path.to_owned(), reason };
    let record: StepRecord = serde_json::from_str(&read_text(path)?).map_err(|error| unread(error.to_string()))?;
    let prices = Prices::new(on.plan, on.hardware);
    let stage = Stage {
        seats: on.seats,
        seconds: &|rank, event| prices.seconds(rank, event),
        overhead_seconds: on.hardware.exchange_seconds,
    };
    let mut routes = FabricRoutes::new(on.fabric.clone(), routing);
    let mut epochs = [Epoch { from: 0.0, routes: &mut routes, down: on.fabric.down().to_vec() }];
    let run = replay(&record, &stage, &mut epochs).map_err(|error| refused(&error))?;
    let replayed = report(&run, on.fabric);
    if let Some(path) = trace {
        trace::write(path, &run, on.fabric)?;
    }
    match format {
        Format::Json => print(&json!(replayed)),
        Format::Text => data(replayed.text()),
    }
}
