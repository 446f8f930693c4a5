//! `--schedules`: every schedule on the job's grid beside the others.

use std::fs;
use std::path::Path;

use ds_forecast::report::{schedule_picture, schedules_json, schedules_picture, schedules_text};
use ds_forecast::schedules::schedules;
use ds_forecast::search::Machine;
use ds_plan::JobPlan;

use super::write;
use crate::failure::Failure;
use crate::output::{Exit, Format, data, json};

/// Where pictures go.
#[derive(Clone, Copy)]
pub(super) struct Out<'a> {
    /// All schedules as one.
    pub(super) svg: Option<&'a Path>,
    /// A folder for one picture each.
    pub(super) pictures: Option<&'a Path>,
}

pub(super) fn run(
    own: &JobPlan,
    machine: &Machine,
    format: Format,
    columns: usize,
    out: Out<'_>,
) -> Result<Exit, Failure> {
    let all = schedules(own.spec(), machine, columns);
    if let Some(path) = out.svg {
        write(path, &schedules_picture(machine, &all).svg())?;
    }
    if let Some(folder) = out.pictures {
        fs::create_dir_all(folder).map_err(|source| Failure::Write { path: folder.to_owned(), source })?;
        for one in &all {
            let picture = one.outcome.as_ref().ok().and_then(|fare| schedule_picture(&fare.plan, &machine.hardware));
            if let Some(picture) = picture {
                write(&folder.join(format!("schedule-{}.svg", one.kind)), &picture.svg())?;
            }
        }
    }
    match format {
        Format::Text => data(schedules_text(own, machine, &all))?,
        Format::Json => json(&schedules_json(own, &all))?,
    }
    Ok(Exit::Done)
}
