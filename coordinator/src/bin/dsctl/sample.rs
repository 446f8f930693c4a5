//! What a model that was just trained writes, kept in its run's summary. The job is done whatever becomes of this.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ds_proto::v1;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::facts::state;
use crate::node::Worker;
use crate::output::talk;

/// A few lines take seconds on a small model, and minutes on one that no laptop should train.
const PATIENCE: Duration = Duration::from_secs(600);
/// The same lines at every call, a little surer than the model itself, so that they read well.
const SAMPLING: [&str; 4] = ["--temperature=0.8", "--top-p=0.95", "--seed=1", "--format=json"];

/// Lets the model of a job that is done write behind `prompt`, and adds that to the run's summary.json. Says why, if that
/// cannot be.
pub(crate) async fn add(job: &v1::Job, prompt: &str) {
    if state(job) != "done" {
        return;
    }
    if let Err(reason) = write(Path::new(&job.folder), prompt).await {
        talk(format_args!("no sample: {reason}"));
    }
}

async fn write(folder: &Path, prompt: &str) -> Result<(), String> {
    let path = folder.join("summary.json");
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let text = fs::read(&path).map_err(failed)?;
    let mut summary: Value = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let checkpoint = summary["checkpoint"].as_str().ok_or("the run has no whole checkpoint")?;
    summary["sample"] = json!({ "prompt": prompt, "text": continued(checkpoint, prompt).await? });
    let draft = path.with_extension("tmp");
    fs::write(&draft, format!("{summary:#}\n")).and_then(|()| fs::rename(&draft, &path)).map_err(failed)
}

async fn continued(checkpoint: &str, prompt: &str) -> Result<String, String> {
    let worker = Worker::find().map_err(|failure| failure.to_string())?;
    let mut command = Command::new(worker.path());
    command.args(["generate", checkpoint, &format!("--prompt={prompt}")]).args(SAMPLING);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, output).await.map_err(|_| format!("it took more than {} s", PATIENCE.as_secs()))?;
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().rfind(|line| line.starts_with("error: ")).or(words.lines().last());
        return Err(format!("{}: {}", output.status, last.unwrap_or("it said nothing")));
    }
    let written: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    written["sequences"][0]["text"].as_str().map(str::to_owned).ok_or_else(|| "nothing was written".to_owned())
}
