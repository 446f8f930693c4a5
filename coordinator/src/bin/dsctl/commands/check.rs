//! `dsctl check`: everything that is wrong with a job at once, or the job as it will run.

use ds_plan::JobPlan;
use ds_plan::spec::{Problems, Resolved, to_yaml};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Exit, Format, FormatArgs, data};
use crate::show::table::table;
use crate::spec::SpecArgs;
use crate::start::compare_start;

/// Say everything that is wrong with a job at once, or print the job as it will run
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Print where each value comes from instead
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let resolved = match self.spec.read().and_then(|resolved| compare_start(&resolved).map(|()| resolved)) {
            Err(Failure::Spec(problems)) if self.format.format == Format::Json => {
                output::json(&problems_json(&problems))?;
                return Ok(Exit::User);
            }
            read => read?,
        };
        // The rules of the spec have found all that a plan refuses; this makes it certain.
        JobPlan::new(resolved.spec.clone())?;
        match (self.explain, self.format.format) {
            (false, Format::Text) => data(to_yaml(&resolved.spec))?,
            (false, Format::Json) => output::json(&as_json(&resolved)?)?,
            (true, Format::Text) => data(explained_lines(&resolved).join("\n"))?,
            (true, Format::Json) => output::json(&explained_json(&resolved))?,
        }
        Ok(Exit::Done)
    }
}

fn problems_json(problems: &Problems) -> Value {
    let one = |problem: &ds_plan::spec::Problem| {
        json!({
            "line": problem.line,
            "column": problem.column,
            "path": problem.path,
            "value": problem.value,
            "rule": problem.rule,
            "hint": problem.hint,
        })
    };
    json!({ "problems": problems.iter().map(one).collect::<Vec<_>>() })
}

fn as_json(resolved: &Resolved) -> Result<Value, Failure> {
    serde_yaml::from_str(&to_yaml(&resolved.spec)).map_err(Failure::Yaml)
}

fn explained_lines(resolved: &Resolved) -> Vec<String> {
    let row = |e: &ds_plan::spec::Explained| vec![e.path.clone(), e.value.clone(), e.origin.to_string()];
    table(&["key", "value", "from"], &resolved.explain().iter().map(row).collect::<Vec<_>>())
}

fn explained_json(resolved: &Resolved) -> Value {
    let one =
        |e: &ds_plan::spec::Explained| json!({ "path": e.path, "value": e.value, "origin": e.origin.to_string() });
    resolved.explain().iter().map(one).collect()
}
