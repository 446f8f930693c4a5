//! `dsctl fabric flows`: when flows of a file end.

use std::fs;
use std::path::PathBuf;

use ds_topology::flow::{Case, Outcome, simulate};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Exit, Format, FormatArgs, data};

/// Show when each flow of a case ends, under max-min fair sharing
#[derive(clap::Args)]
pub(super) struct Args {
    /// Links and flows, as JSON
    #[arg(value_name = "CASE.json")]
    case: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let failed = |source| Failure::Read { path: self.case.clone(), source };
        let text = fs::read(&self.case).map_err(failed)?;
        let refused = |reason: String| Failure::Flows { path: self.case.clone(), reason };
        let case = Case::parse(&text).map_err(|error| refused(error.to_string()))?;
        let flows = case.flows().map_err(|error| refused(error.to_string()))?;
        let outcome = simulate(&case.network(), &flows, case.weighting());
        let Outcome { finish, makespan } = outcome.map_err(|error| refused(error.to_string()))?;
        match self.format.format {
            Format::Json => output::json(&json!({ "name": case.name, "finish_s": finish, "makespan_s": makespan }))?,
            Format::Text => {
                let mean = finish.iter().sum::<f64>() / finish.len().max(1) as f64;
                data(format_args!(
                    "{}: {} flows, all ended after {makespan:.9} s, {mean:.9} s in the mean",
                    case.name,
                    finish.len()
                ))?;
            }
        }
        Ok(Exit::Done)
    }
}
