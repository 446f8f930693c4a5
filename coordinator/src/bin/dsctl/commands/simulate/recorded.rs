//! A recorded step in place of what the plan expects.

use std::path::Path;

use ds_forecast::recorded::{Player, StepRecord};
use serde_json::json;

use super::trace;
use super::what_if::refused;
use crate::failure::Failure;
use crate::files::{read_text, write_text};
use crate::output::{Format, data, json as print};

/// Writes what ranks would record of a planned step.
pub(super) fn write(path: &Path, player: &Player) -> Result<(), Failure> {
    let record = player.record(None).map_err(|error| refused(&error))?;
    write_text(path, &json!(record).to_string())
}

pub(super) fn run(path: &Path, player: &Player, trace: Option<&Path>, format: Format) -> Result<(), Failure> {
    let unread = |reason: String| Failure::Loads { path: path.to_owned(), reason };
    let record: StepRecord = serde_json::from_str(&read_text(path)?).map_err(|error| unread(error.to_string()))?;
    let run = player.play(&record).map_err(|error| refused(&error))?;
    let replayed = player.report(&run);
    if let Some(path) = trace {
        trace::write(path, &run, player.fabric())?;
    }
    match format {
        Format::Json => print(&json!(replayed)),
        Format::Text => data(replayed.text()),
    }
}
