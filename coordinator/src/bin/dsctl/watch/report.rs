//! What is printed when a job has ended: facts on stdout, and the exit code that they mean.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::follow::Told;
use super::summary::{Summary, Whose, lines};
use crate::facts::state;
use crate::failure::Failure;
use crate::output::{Exit, Format, Paint, data, json};

/// Prints what a job came to.
pub(crate) fn print(told: &Told, format: Format) -> Result<Exit, Failure> {
    let job = &told.job;
    let mut facts = facts(told);
    match format {
        Format::Json => {
            facts["job"] = job.id.clone().into();
            facts["name"] = job.name.clone().into();
            facts["folder"] = job.folder.clone().into();
            json(&facts)?;
        }
        Format::Text => {
            let summary: Summary = serde_json::from_value(facts).unwrap_or_default();
            let whose = Whose { job: &job.id, name: &job.name, folder: &job.folder };
            data(lines(&whose, &summary, &told.history, Paint::of_stdout()).join("\n"))?;
        }
    }
    Ok(exit(told))
}

/// Done is done; a job that was stopped did not do what it was asked for.
pub(crate) fn exit(told: &Told) -> Exit {
    if state(&told.job) == "done" { Exit::Done } else { Exit::Failed }
}

/// `summary.json` if it is about this end of the job, else what was watched.
fn facts(told: &Told) -> Value {
    let watched = watched(told);
    let path = Path::new(&told.job.folder).join("summary.json");
    let kept = fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let is_same = |kept: &Value| kept["state"] == watched["state"] && kept["steps"] == watched["steps"];
    kept.filter(is_same).unwrap_or(watched)
}

fn watched(told: &Told) -> Value {
    let Told { job, history } = told;
    let maxvio = history.maxvio();
    json!({
        "state": state(job),
        "reason": job.reason,
        "steps": job.step,
        "train_loss": job.last_step.as_ref().map(|step| step.loss),
        "validation_loss": job.last_evaluation.as_ref().map(|evaluation| evaluation.nats_per_byte),
        "baseline_trigram": null,
        "maxvio_first": maxvio.map(|(first, _)| first),
        "maxvio_last": maxvio.map(|(_, last)| last),
        "tokens_per_second": history.mean_tokens_per_second(),
        "wall_seconds": (job.ended_unix_ms > 0).then(|| (job.ended_unix_ms - job.submitted_unix_ms) as f64 / 1000.0),
        "restarts": job.restarts,
        "checkpoint": null,
    })
}

#[cfg(test)]
mod tests {
    use ds_proto::v1;

    use super::*;

    fn told(folder: &Path) -> Told {
        let job = v1::Job {
            id: "a-1".to_owned(),
            state: v1::JobState::Done.into(),
            step: 5,
            folder: folder.display().to_string(),
            ..v1::Job::default()
        };
        Told { job, ..Told::default() }
    }

    #[test]
    fn a_summary_of_an_earlier_end_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| fs::write(folder.path().join("summary.json"), text).unwrap();
        write(r#"{"state": "failed", "steps": 3, "validation_loss": 9.0}"#);
        assert!(facts(&told(folder.path()))["validation_loss"].is_null());
        write(r#"{"state": "done", "steps": 5, "validation_loss": 1.5}"#);
        assert_eq!(facts(&told(folder.path()))["validation_loss"], 1.5);
    }

    #[test]
    fn only_a_job_that_is_done_is_a_success() {
        let mut told = told(Path::new("/nowhere"));
        assert_eq!(exit(&told), Exit::Done);
        told.job.state = v1::JobState::Cancelled.into();
        assert_eq!(exit(&told), Exit::Failed);
    }
}
