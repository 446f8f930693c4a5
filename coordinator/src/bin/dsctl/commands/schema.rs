//! `dsctl schema`: the JSON Schema of a job, for editors.

use ds_plan::spec::schema;

use crate::failure::Failure;
use crate::output::{Exit, json};

/// Print the JSON Schema of a job, so that editors complete and check it
#[derive(clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        json(&schema())?;
        Ok(Exit::Done)
    }
}
