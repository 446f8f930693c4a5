//! Jobs and nodes as facts: what `--format json` prints, and the same as text.

use ds_proto::{Evaluation, StepMetrics, v1};
use serde_json::{Value, json};

use crate::clock::unix_ms;
use crate::output::Paint;
use crate::show::numbers::{bytes, seconds};
use crate::show::table::table;

/// `queued`, `starting`, `running`, `stopping`, `done`, `failed`, `cancelled`.
pub(crate) fn state(job: &v1::Job) -> &'static str {
    match job.state() {
        v1::JobState::Unspecified => "unknown",
        v1::JobState::Queued => "queued",
        v1::JobState::Starting => "starting",
        v1::JobState::Running => "running",
        v1::JobState::Stopping => "stopping",
        v1::JobState::Done => "done",
        v1::JobState::Failed => "failed",
        v1::JobState::Cancelled => "cancelled",
    }
}

/// Nothing more happens to it unless somebody asks.
pub(crate) fn has_ended(job: &v1::Job) -> bool {
    matches!(job.state(), v1::JobState::Done | v1::JobState::Failed | v1::JobState::Cancelled)
}

/// All that is known of a job.
pub(crate) fn job_json(job: &v1::Job) -> Value {
    let seat =
        |seat: &v1::Seat| json!({ "rank": seat.rank, "node": seat.node, "device": seat.device, "state": seat.state });
    json!({
        "id": job.id,
        "name": job.name,
        "state": state(job),
        "reason": job.reason,
        "attempt": job.attempt,
        "restarts": job.restarts,
        "step": job.step,
        "n_steps": job.n_steps,
        "n_ranks": job.n_ranks,
        "priority": job.priority,
        "folder": job.folder,
        "submitted_unix_ms": job.submitted_unix_ms,
        "ended_unix_ms": (job.ended_unix_ms > 0).then_some(job.ended_unix_ms),
        "seats": job.seats.iter().map(seat).collect::<Vec<_>>(),
        "last_step": job.last_step.clone().map(|step| json!(StepMetrics::from(step))),
        "last_evaluation": job.last_evaluation.map(|evaluation| json!(Evaluation::from(evaluation))),
    })
}

/// All that is known of a node.
pub(crate) fn node_json(node: &v1::NodeView) -> Value {
    json!({
        "name": node.name,
        "alive": node.alive,
        "n_cores": node.n_cores,
        "memory_bytes": node.memory_bytes,
        "gpus": node.gpus,
        "nics": node.nics,
        "seated": node.seated,
    })
}

/// A line a job.
pub(crate) fn job_lines(jobs: &[v1::Job]) -> Vec<String> {
    let row = |job: &v1::Job| {
        vec![
            job.id.clone(),
            state(job).to_owned(),
            format!("{}/{}", job.step, job.n_steps),
            job.last_step.as_ref().map_or_else(|| "-".to_owned(), |step| format!("{:.3}", step.loss)),
            job.n_ranks.to_string(),
            job.priority.to_string(),
            age(job),
            first_line(&job.reason).to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
    table(&["job", "state", "step", "loss", "ranks", "priority", "age", "why"], &rows)
}

/// A line a node.
pub(crate) fn node_lines(nodes: &[v1::NodeView]) -> Vec<String> {
    let row = |node: &v1::NodeView| {
        vec![
            node.name.clone(),
            if node.alive { "alive" } else { "gone" }.to_owned(),
            node.n_cores.to_string(),
            bytes(node.memory_bytes),
            node.gpus.len().to_string(),
            some(&node.nics),
            some(&node.seated),
        ]
    };
    table(
        &["node", "state", "cores", "memory", "gpus", "nics", "seats taken"],
        &nodes.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Everything about one job, for people.
pub(crate) fn status_lines(job: &v1::Job, paint: Paint) -> Vec<String> {
    let state = match state(job) {
        word @ "done" => paint.green(word),
        word @ "failed" => paint.red(word),
        word => paint.yellow(word),
    };
    let mut lines = vec![format!("{} ({}): {state}, step {} of {}", job.name, job.id, job.step, job.n_steps)];
    lines.extend(job.reason.lines().map(|line| format!("  {line}")));
    let mut fact = |name: &str, value: String| lines.push(format!("{name:<16} {value}"));
    fact("attempt", format!("{}, {} restarts", job.attempt, job.restarts));
    fact("priority", job.priority.to_string());
    fact("submitted", format!("{} ago", age(job)));
    if let Some(step) = &job.last_step {
        fact("loss", format!("{:.4} nats per token", step.loss));
        fact("speed", format!("{:.0} tokens/s", step.tokens_per_second));
        fact("MaxVio", format!("{:.2}", step.maxvio));
    }
    if let Some(evaluation) = &job.last_evaluation {
        fact("validation loss", format!("{:.4} nats per byte at step {}", evaluation.nats_per_byte, evaluation.step));
    }
    fact("folder", job.folder.clone());
    if !job.seats.is_empty() {
        let row =
            |seat: &v1::Seat| vec![seat.rank.to_string(), seat.node.clone(), seat.device.clone(), seat.state.clone()];
        lines.push(String::new());
        lines.extend(table(&["rank", "node", "device", "state"], &job.seats.iter().map(row).collect::<Vec<_>>()));
    }
    lines
}

fn age(job: &v1::Job) -> String {
    seconds((unix_ms() - job.submitted_unix_ms).max(0) as f64 / 1000.0)
}

fn some(names: &[String]) -> String {
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> v1::Job {
        v1::Job {
            id: "tiny-1".to_owned(),
            name: "tiny".to_owned(),
            state: v1::JobState::Failed.into(),
            reason: "rank 2 died\nits last words".to_owned(),
            step: 7,
            n_steps: 20,
            seats: vec![v1::Seat { rank: 0, node: "n1".to_owned(), ..v1::Seat::default() }],
            ..v1::Job::default()
        }
    }

    #[test]
    fn a_job_is_printed_with_its_state_in_lower_case() {
        let facts = job_json(&job());
        assert_eq!(facts["state"], "failed");
        assert_eq!(facts["seats"][0]["node"], "n1");
        assert!(facts["last_step"].is_null());
    }

    #[test]
    fn a_list_has_a_line_a_job() {
        let lines = job_lines(&[job()]);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("7/20") && lines[1].ends_with("rank 2 died"), "{lines:?}");
    }

    #[test]
    fn a_status_says_why_and_where() {
        let text = status_lines(&job(), Paint::none()).join("\n");
        assert!(text.starts_with("tiny (tiny-1): failed, step 7 of 20\n  rank 2 died\n  its last words\n"), "{text}");
        assert!(text.contains("RANK  NODE"), "{text}");
    }
}
