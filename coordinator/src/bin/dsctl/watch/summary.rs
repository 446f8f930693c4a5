//! What a run came to, for people. Facts are those of `summary.json`; the curves are of what was watched.

use ds_coordinator::runs::SimulatedRun;
use ds_proto::{ExchangeBytes, PlaneBytes};
use serde::Deserialize;

use super::history::History;
use super::simulated;
use crate::output::Paint;
use crate::show::bars::bars;
use crate::show::numbers::{bytes, count, seconds};
use crate::show::plot::{Series, curve};

const PLOT_WIDTH: usize = 60;
const PLOT_HEIGHT: usize = 12;

/// `summary.json`, as far as it is shown. What is not known yet is absent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) steps: u64,
    pub(crate) train_loss: Option<f64>,
    /// Nats per byte.
    pub(crate) validation_loss: Option<f64>,
    /// Nats per byte.
    pub(crate) baseline_trigram: Option<f64>,
    pub(crate) maxvio_first: Option<f64>,
    pub(crate) maxvio_last: Option<f64>,
    pub(crate) tokens_per_second: Option<f64>,
    pub(crate) wall_seconds: Option<f64>,
    pub(crate) restarts: u32,
    pub(crate) checkpoint: Option<String>,
    pub(crate) memory: Vec<RankMemory>,
    pub(crate) exchange: ExchangeBytes,
    pub(crate) simulated: Option<SimulatedRun>,
    pub(crate) planes: Vec<PlaneBytes>,
    pub(crate) sample: Option<Sample>,
}

/// What a rank needed of its host, and what was planned.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct RankMemory {
    pub(crate) peak_bytes: u64,
    pub(crate) planned_bytes: Option<u64>,
}

/// What the model wrote.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Sample {
    pub(crate) prompt: String,
    pub(crate) text: String,
}

/// Whose summary it is.
pub(crate) struct Whose<'a> {
    pub(crate) job: &'a str,
    pub(crate) name: &'a str,
    pub(crate) folder: &'a str,
}

/// All lines.
pub(crate) fn lines(whose: &Whose<'_>, summary: &Summary, history: &History, paint: Paint) -> Vec<String> {
    let mut lines = vec![headline(whose, summary, paint)];
    if !summary.reason.is_empty() {
        lines.extend(summary.reason.lines().map(|line| format!("  {line}")));
    }
    let plot = loss_plot(summary, history);
    if !plot.is_empty() {
        lines.push(String::new());
        lines.extend(plot.lines().map(str::to_owned));
    }
    lines.push(String::new());
    lines.extend(facts(whose, summary, history));
    lines.push(String::new());
    lines.extend(next_steps(whose, summary));
    if let Some(Sample { prompt, text }) = &summary.sample {
        lines.extend([String::new(), format!("what its model writes after {prompt:?}:")]);
        lines.extend(format!("{prompt}{text}").lines().map(|line| format!("  {line}")));
    }
    lines
}

fn headline(whose: &Whose<'_>, summary: &Summary, paint: Paint) -> String {
    let state = match summary.state.as_str() {
        "done" => paint.green("done"),
        "failed" => paint.red("failed"),
        other => paint.yellow(other),
    };
    let wall = summary.wall_seconds.map(|wall| format!(" in {}", seconds(wall))).unwrap_or_default();
    format!("{state}: {} ({}), {} steps{wall}", whose.name, whose.job, summary.steps)
}

/// Losses per token; the baseline is per byte, so it is drawn only where a token is a byte.
fn loss_plot(summary: &Summary, history: &History) -> String {
    let (losses, validation) = (history.losses(), history.validation_losses());
    if losses.len() < 2 {
        return String::new();
    }
    let per_byte = history.evaluation().is_some_and(|e| (e.loss - e.nats_per_byte).abs() < 1e-6 * e.loss.abs());
    let ends = [losses[0].0, losses[losses.len() - 1].0];
    let baseline: Vec<(f64, f64)> = match summary.baseline_trigram.filter(|_| per_byte) {
        Some(loss) => (0..PLOT_WIDTH)
            .map(|i| i as f64 / (PLOT_WIDTH - 1) as f64)
            .map(|share| (ends[0] + share * (ends[1] - ends[0]), loss))
            .collect(),
        None => Vec::new(),
    };
    let series = [
        Series { mark: '-', name: "trigram baseline", points: &baseline },
        Series { mark: '*', name: "loss (nats per token)", points: &losses },
        Series { mark: 'o', name: "validation loss", points: &validation },
    ];
    curve(&series, PLOT_WIDTH, PLOT_HEIGHT)
}

fn facts(whose: &Whose<'_>, summary: &Summary, history: &History) -> Vec<String> {
    let mut facts: Vec<(&str, String)> = Vec::new();
    let mut fact = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    fact("train loss", summary.train_loss.map(|loss| format!("{loss:.3} nats per token")));
    fact("validation loss", validation(summary));
    let rate = summary.tokens_per_second.or_else(|| history.mean_tokens_per_second());
    fact("speed", rate.map(|rate| format!("{} tokens/s", count(rate))));
    let maxvio = summary.maxvio_first.zip(summary.maxvio_last).or_else(|| history.maxvio());
    fact("MaxVio", maxvio.map(|(first, last)| format!("{first:.2} at first, {last:.2} at last")));
    fact("memory", memory(&summary.memory));
    fact("exchange", exchanged(summary));
    fact("planes", planes(summary));
    fact("restarts", Some(summary.restarts.to_string()));
    fact("checkpoint", Some(summary.checkpoint.clone().unwrap_or_else(|| "none".to_owned())));
    fact("folder", Some(whose.folder.to_owned()).filter(|folder| !folder.is_empty()));
    let mut lines: Vec<String> = facts.into_iter().map(|(name, value)| format!("{name:<16} {value}")).collect();
    lines.extend(under("where time went", bars(&history.seconds_by_cause())));
    lines.extend(under("simulated", summary.simulated.as_ref().map(simulated::lines).unwrap_or_default()));
    lines
}

/// Lines under one name.
fn under(name: &str, lines: Vec<String>) -> impl Iterator<Item = String> {
    lines.into_iter().enumerate().map(move |(i, line)| format!("{:<16} {line}", if i == 0 { name } else { "" }))
}

fn validation(summary: &Summary) -> Option<String> {
    let loss = summary.validation_loss?;
    let against = summary.baseline_trigram.map(|baseline| {
        let verdict = if loss < baseline { "better" } else { "worse" };
        format!("; a trigram's is {baseline:.3}: {:.3} {verdict}", (baseline - loss).abs())
    });
    Some(format!("{loss:.3} nats per byte{}", against.unwrap_or_default()))
}

/// Of the rank that needed most.
fn memory(ranks: &[RankMemory]) -> Option<String> {
    let most = ranks.iter().max_by_key(|rank| rank.peak_bytes)?;
    let whose = if ranks.len() > 1 { "at most, of a rank" } else { "at most" };
    let planned = most.planned_bytes.map(|planned| {
        let off = 100.0 * (planned as f64 / most.peak_bytes.max(1) as f64 - 1.0);
        format!("; planned were {} ({off:+.1}%)", bytes(planned))
    });
    Some(format!("{} {whose}{}", bytes(most.peak_bytes), planned.unwrap_or_default()))
}

/// What a step sent to experts and back, where ranks share them.
fn exchanged(summary: &Summary) -> Option<String> {
    let ExchangeBytes { across, within, saved, routing } = summary.exchange;
    let a_step = |total: u64| bytes(total / summary.steps.max(1));
    let told = if saved > 0 { format!("; {} more across without deduplication", a_step(saved)) } else { String::new() };
    (across + within > 0).then(|| {
        let (across, within, routing) = (a_step(across), a_step(within), a_step(routing));
        format!("a step {across} across nodes, {within} within, {routing} of routing{told}")
    })
}

/// What NICs carried a step, plane by plane.
fn planes(summary: &Summary) -> Option<String> {
    let plane = |PlaneBytes { plane, bytes: total, n_lost }: &PlaneBytes| {
        let s = if *n_lost == 1 { "" } else { "s" };
        let lost = if *n_lost > 0 { format!(" (lost at {n_lost} rank{s})") } else { String::new() };
        format!("plane {plane} {}{lost}", bytes(total / summary.steps.max(1)))
    };
    let planes: Vec<String> = summary.planes.iter().map(plane).collect();
    (!planes.is_empty()).then(|| format!("a step {}", planes.join(", ")))
}

fn next_steps(whose: &Whose<'_>, summary: &Summary) -> Vec<String> {
    let job = whose.job;
    let mut lines = vec!["what to do next:".to_owned()];
    let mut next = |command: String, why: &str| lines.push(format!("  {command:<44} {why}"));
    if summary.state != "done" {
        next(format!("dsctl resume {job}"), "go on from the newest whole checkpoint");
        next(format!("dsctl logs {job} --tail 50"), "what its ranks said");
    }
    next(format!("dsctl status {job}"), "these facts again");
    if summary.checkpoint.is_some() {
        next(format!("dsctl ckpt show {job}"), "what the checkpoint holds");
        next(format!("dsctl generate {job} --prompt TEXT"), "what its model writes");
    }
    if summary.state == "done" {
        next(format!("dsctl logs {job} --tail 50"), "what its ranks said");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::history::{Evaluation, Step};
    use super::*;

    fn run() -> History {
        let mut history = History::default();
        for step in 1..=20 {
            let seconds_by_cause = vec![("compute".to_owned(), 0.7), ("exchange".to_owned(), 0.3)];
            let loss = 5.0 - step as f64 * 0.15;
            let (maxvio, bubble_share, tokens, seconds) = (1.0 / step as f64, 0.1, 512, 1.0);
            history.on_step(Step { step, loss, maxvio, bubble_share, tokens, seconds, seconds_by_cause });
        }
        history.on_evaluation(Evaluation { step: 20, loss: 2.0, nats_per_byte: 2.0 });
        history
    }

    fn text(json: &str, history: &History) -> String {
        let summary: Summary = serde_json::from_str(json).unwrap();
        let whose = Whose { job: "abc", name: "shakespeare", folder: "/home/runs/abc" };
        lines(&whose, &summary, history, Paint::none()).join("\n")
    }

    #[test]
    fn a_done_job_says_how_good_it_is_and_where_its_time_went() {
        let text = text(
            r#"{"state": "done", "steps": 20, "validation_loss": 2.0, "baseline_trigram": 2.03, "restarts": 1,
                "wall_seconds": 20.5, "checkpoint": "/c",
                "simulated": {"steps": 20, "step": {"seconds": 0.00818, "compute_share": 0.41, "exposed_share": 0.1,
                    "imbalance_share": 0.337, "bubble_share": 0.153, "bytes_within_nodes": 2048.0,
                    "planes": [{"plane": 0, "bytes": 1024.0, "utilization": 0.0041, "busiest_link": 0.0043}],
                    "links": [{"name": "P0.h0.up", "count": 3, "bytes": 512.0, "utilization": 0.0043}]}},
                "planes": [{"plane": 0, "bytes": 20480, "n_lost": 0}, {"plane": 1, "bytes": 40960, "n_lost": 2}],
                "exchange": {"across": 20480, "within": 40960, "saved": 61440, "routing": 2048},
                "memory": [{"rank": 0, "peak_bytes": 1048576, "planned_bytes": 1},
                           {"rank": 1, "peak_bytes": 2097152, "planned_bytes": 2202009}], "sample": {"prompt": "A:", "text": " b\nc"}}"#,
            &run(),
        );
        for part in [
            "done: shakespeare (abc), 20 steps in 21 s",
            "2.000 nats per byte; a trigram's is 2.030: 0.030 better",
            "512 tokens/s",
            "1.00 at first, 0.05 at last",
            "where time went  compute",
            "memory           2.0 MiB at most, of a rank; planned were 2.1 MiB (+5.0%)",
            "exchange         a step 1.0 KiB across nodes, 2.0 KiB within, 102 B of routing; 3.0 KiB more across without",
            "simulated        a step 8.18 ms, the mean of 20, on the virtual clock of its fabric",
            "computes 41%, communication that nothing hides 10%, waits for the rest of a group 33.7%, else idle 15.3%",
            "plane 0  1.0 KiB, 0.41% of the rate of the NICs that send, busiest link 0.43%",
            "link P0.h0.up and 2 more like it  512 B, 0.43%",
            "planes           a step plane 0 1.0 KiB, plane 1 2.0 KiB (lost at 2 ranks)",
            "- trigram baseline",
            "o validation loss",
            "dsctl ckpt show abc",
            "what its model writes after \"A:\":\n  A: b\n  c",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(!text.contains("dsctl resume"), "{text}");
    }

    #[test]
    fn a_failed_job_says_why_and_how_to_go_on() {
        let text = text(r#"{"state": "failed", "reason": "rank 2 died"}"#, &History::default());
        assert!(text.starts_with("failed: shakespeare (abc), 0 steps\n  rank 2 died\n"), "{text}");
        assert!(text.contains("dsctl resume abc") && !text.contains("ckpt show"), "{text}");
    }
}
