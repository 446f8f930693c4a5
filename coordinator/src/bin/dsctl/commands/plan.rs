//! `dsctl plan`: who holds what, what it costs, and in which order.

use ds_plan::{JobPlan, report};

use crate::failure::Failure;
use crate::output::{Exit, Format, FormatArgs, data, json};
use crate::spec::SpecArgs;

/// Show who holds what, parameters and memory per rank, and the schedule drawn as text
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    format: FormatArgs,
    /// A drawing that is wider is cut
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u16).range(20..))]
    columns: u16,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let plan = JobPlan::new(self.spec.read()?.spec)?;
        let report = report(&plan, usize::from(self.columns));
        match self.format.format {
            Format::Text => data(report)?,
            Format::Json => json(&serde_json::json!(report))?,
        }
        Ok(Exit::Done)
    }
}
