//! `dsctl calibrate`: what a machine reaches of its data sheet, from a measured run or from published rows.

use std::path::{Path, PathBuf};

use clap::ArgGroup;
use ds_forecast::estimate::{Measured, calibrated};
use ds_forecast::hardware::{Hardware, hardware, sources, usual};
use ds_forecast::rows::fit;
use ds_plan::JobPlan;
use ds_plan::spec::read;
use ds_proto::StepMetrics;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files::{read_text, write_text};
use crate::home::HomeArgs;
use crate::machine::{hardware_named, preset};
use crate::output::{self, Exit, Format, FormatArgs, data, talk};
use crate::show::table::table;

/// Steps at the beginning that are not measured: caches and allocators warm up.
const WARM_UP: usize = 2;

/// Fit the constants of a machine to a measured run, or to the published rows that its preset names
#[derive(clap::Args)]
#[command(group = ArgGroup::new("from").required(true).args(["run", "rows"]))]
pub(crate) struct Args {
    /// A run: its folder, or its id in the home
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    /// Published rows, as CSV; may be given several times
    #[arg(long, value_name = "FILE", requires = "hardware")]
    rows: Vec<PathBuf>,
    /// The preset to begin with
    #[arg(long, value_name = "NAME")]
    hardware: Option<String>,
    /// Where the calibration goes, for --calibration of plan
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    home: HomeArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let (found, constants) = match &self.run {
            Some(run) => self.fit_run(run)?,
            None => self.fit_rows()?,
        };
        let whole = json!(found);
        if let Some(path) = &self.out {
            let text = format!("{whole:#}\n");
            write_text(path, &text)?;
            talk(format_args!("calibration in {}", path.display()));
        }
        match self.format.format {
            Format::Json => output::json(&whole)?,
            Format::Text => data(text(&found, &constants)?.join("\n"))?,
        }
        Ok(Exit::Done)
    }

    fn fit_rows(&self) -> Result<(Hardware, Vec<&'static str>), Failure> {
        let texts = self.rows.iter().map(|path| read_text(path)).collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let name = self.hardware.as_deref().unwrap_or_default();
        let found = fit(&texts, name)?;
        talk(format_args!("{}: {} rows", found.hardware.name, found.rows));
        Ok((found.hardware, found.constants))
    }

    fn fit_run(&self, run: &Path) -> Result<(Hardware, Vec<&'static str>), Failure> {
        let folder = if run.is_dir() { run.to_owned() } else { self.home.find()?.run(&run.to_string_lossy()) };
        let job = folder.join("job.yaml");
        let spec = read(&read_text(&job)?, &job.to_string_lossy(), &[])?.spec;
        let named = hardware_named(self.hardware.as_deref(), &spec, None);
        let base = preset(named.unwrap_or_else(|| usual(spec.cluster.device)))?;
        let plan = JobPlan::new(spec)?;
        let metrics = folder.join("metrics.jsonl");
        let steps = steps(&read_text(&metrics)?);
        let measured = measured(&steps).ok_or_else(|| {
            let reason = format!("holds {} steps, calibration needs {} or more", steps.len(), WARM_UP + 1);
            Failure::NoMeasurement { path: metrics, reason }
        })?;
        Ok((calibrated(&base, &plan, measured), Vec::new()))
    }
}

/// The lines that tell of steps; a line that does not read is one that was being written.
fn steps(text: &str) -> Vec<StepMetrics> {
    let is_step = |value: &Value| value.get("kind").and_then(Value::as_str) == Some("step");
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(is_step);
    lines.filter_map(|line| serde_json::from_value(line).ok()).collect()
}

/// The median of every cause, after warm-up.
fn measured(steps: &[StepMetrics]) -> Option<Measured> {
    let steps = steps.get(WARM_UP..).filter(|steps| !steps.is_empty())?;
    let median = |of: &dyn Fn(&StepMetrics) -> f64| {
        let mut values: Vec<f64> = steps.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let cause = |name: &str| median(&|step| step.seconds_by_cause.get(name).copied().unwrap_or(0.0));
    Some(Measured {
        step: median(&|step| step.seconds),
        compute: cause("compute"),
        exchange: cause("exchange"),
        reduce: cause("reduce"),
        optimizer: cause("optimizer"),
    })
}

/// Every constant, what the preset has, and where that comes from.
fn text(found: &Hardware, constants: &[&str]) -> Result<Vec<String>, Failure> {
    let Some(preset) = hardware(&found.name) else { return Ok(vec![format!("{:#}", json!(found))]) };
    let (now, before) = (json!(found), json!(preset));
    let sources = sources(&found.name);
    let fields = now.as_object().into_iter().flatten().filter(|(field, value)| {
        constants.contains(&field.as_str()) || (constants.is_empty() && before[field.as_str()] != **value)
    });
    let rows: Vec<Vec<String>> = fields
        .map(|(field, value)| {
            let source = sources.and_then(|sources| sources.get(field)).cloned().unwrap_or_default();
            vec![field.clone(), digits(value), digits(&before[field.as_str()]), source]
        })
        .collect();
    Ok(table(&["constant", "calibrated", "preset", "the preset's source"], &rows))
}

fn digits(value: &Value) -> String {
    value.as_f64().map_or_else(|| value.to_string(), |number| format!("{number:.4e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_its_median_after_the_first_steps() {
        let line = |seconds: f64| {
            let cause = json!({ "compute": seconds / 2.0 });
            let step = StepMetrics { seconds, ..StepMetrics::default() };
            let mut value = json!(step);
            value["kind"] = json!("step");
            value["seconds_by_cause"] = cause;
            value.to_string()
        };
        let text = [9.0, 9.0, 1.0, 3.0, 2.0].map(line).join("\n") + "\n{\"kind\":\"step\",\"sec";
        let found = measured(&steps(&text)).unwrap();
        assert_eq!((found.step, found.compute, found.exchange), (2.0, 1.0, 0.0));
        assert!(measured(&steps(&line(1.0))).is_none());
    }
}
