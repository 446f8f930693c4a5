//! What a run came to.

use std::collections::BTreeMap;

use ds_proto::{Evaluation, ExchangeBytes, PlaneBytes, StepMetrics};
use serde::Serialize;

use super::simulated::SimulatedRun;
use crate::cluster::RankMemory;
use crate::store::{Kind, Row};

/// One step says little about how evenly experts are loaded; so many at either end do.
const MAXVIO_STEPS: usize = 10;

/// `summary.json`. What is not known is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// `done`, `failed` or `cancelled`.
    pub state: String,
    /// Why it ended, unless it is done.
    pub reason: String,
    /// Updates done.
    pub steps: u64,
    /// Nats per token, of the last step.
    pub train_loss: Option<f64>,
    /// Nats per byte, of the last evaluation.
    pub validation_loss: Option<f64>,
    /// Nats per byte that a smoothed trigram needs on the same split.
    pub baseline_trigram: Option<f64>,
    /// Mean over the first steps.
    pub maxvio_first: Option<f64>,
    /// Mean over the last steps.
    pub maxvio_last: Option<f64>,
    /// Over the held-out data, at the last evaluation.
    pub maxvio_validation: Option<f64>,
    /// Over all steps, while they ran.
    pub tokens_per_second: Option<f64>,
    /// From the first start of its ranks to its end.
    pub wall_seconds: Option<f64>,
    /// Attempts after the first.
    pub restarts: u32,
    /// The newest whole one.
    pub checkpoint: Option<String>,
    /// What ranks needed of their hosts, as far as they have said.
    pub memory: Vec<RankMemory>,
    /// Seconds of all steps by cause.
    pub seconds_by_cause: BTreeMap<String, f64>,
    /// Of all steps.
    pub exchange: ExchangeBytes,
    /// On a simulated network.
    pub simulated: Option<SimulatedRun>,
    /// Of all steps, where every rank has a NIC of its own.
    pub planes: Vec<PlaneBytes>,
}

/// What metrics do not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// How it ended.
    pub state: String,
    /// Why.
    pub reason: String,
    /// Updates done.
    pub steps: u64,
    /// Attempts after the first.
    pub restarts: u32,
    /// From start to end.
    pub wall_seconds: Option<f64>,
    /// Nats per byte.
    pub baseline_trigram: Option<f64>,
    /// The newest whole checkpoint.
    pub checkpoint: Option<String>,
    /// What ranks needed of their hosts.
    pub memory: Vec<RankMemory>,
}

impl Summary {
    /// Everything put together.
    pub fn new(facts: Facts, rows: &[Row]) -> Self {
        let steps: Vec<StepMetrics> = read(rows, Kind::Step);
        let evaluations: Vec<Evaluation> = read(rows, Kind::Evaluation);
        let maxvios: Vec<f64> = steps.iter().map(|step| step.maxvio).collect();
        let n_maxvios = maxvios.len().min(MAXVIO_STEPS);
        let mut seconds_by_cause = BTreeMap::new();
        for (cause, seconds) in steps.iter().flat_map(|step| &step.seconds_by_cause) {
            *seconds_by_cause.entry(cause.clone()).or_default() += seconds;
        }
        let mut exchange = ExchangeBytes::default();
        let mut planes = Vec::new();
        for step in &steps {
            exchange += step.exchange;
            PlaneBytes::add(&mut planes, &step.planes);
        }
        Self {
            state: facts.state,
            reason: facts.reason,
            steps: facts.steps,
            train_loss: steps.last().map(|step| step.loss),
            validation_loss: evaluations.last().map(|evaluation| evaluation.nats_per_byte),
            baseline_trigram: facts.baseline_trigram,
            maxvio_first: mean(&maxvios[..n_maxvios]),
            maxvio_last: mean(&maxvios[maxvios.len() - n_maxvios..]),
            maxvio_validation: evaluations.last().map(|evaluation| evaluation.maxvio),
            tokens_per_second: rate(&steps),
            wall_seconds: facts.wall_seconds,
            restarts: facts.restarts,
            checkpoint: facts.checkpoint,
            memory: facts.memory,
            seconds_by_cause,
            exchange,
            planes,
            simulated: SimulatedRun::of(steps.iter().filter_map(|step| step.simulated.as_deref())),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(rows: &[Row], kind: Kind) -> Vec<T> {
    let wanted = rows.iter().filter(|row| row.metric.kind == kind);
    wanted.filter_map(|row| serde_json::from_str(&row.metric.json).ok()).collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn rate(steps: &[StepMetrics]) -> Option<f64> {
    let seconds: f64 = steps.iter().map(|step| step.seconds).sum();
    let tokens: u64 = steps.iter().map(|step| step.tokens).sum();
    (seconds > 0.0).then(|| tokens as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Metric;

    fn row(kind: Kind, step: u64, json: String) -> Row {
        Row { row: 0, metric: Metric { job: "a".to_owned(), kind, step, json }, cut_back: false }
    }

    fn steps(n: u64) -> Vec<Row> {
        let step = |step: u64| {
            let metrics = StepMetrics {
                step,
                loss: 5.0 - step as f64 / 10.0,
                maxvio: 1.0 / step as f64,
                tokens: 100,
                seconds: 0.5,
                seconds_by_cause: [("compute".to_owned(), 0.25)].into(),
                ..StepMetrics::default()
            };
            row(Kind::Step, step, serde_json::to_string(&metrics).unwrap())
        };
        (1..=n).map(step).collect()
    }

    #[test]
    fn a_run_is_summed_up_over_its_steps() {
        let evaluation = Evaluation { step: 20, nats_per_byte: 1.75, maxvio: 0.125, ..Evaluation::default() };
        let mut rows = steps(20);
        rows.push(row(Kind::Evaluation, 20, serde_json::to_string(&evaluation).unwrap()));
        rows.push(row(Kind::Note, 20, r#"{"text":"a checkpoint"}"#.to_owned()));
        let facts = Facts { state: "done".to_owned(), steps: 20, restarts: 1, ..Facts::default() };
        let summary = Summary::new(facts, &rows);
        assert_eq!(summary.train_loss, Some(3.0));
        assert_eq!((summary.validation_loss, summary.maxvio_validation), (Some(1.75), Some(0.125)));
        assert_eq!(summary.tokens_per_second, Some(200.0));
        assert_eq!(summary.seconds_by_cause["compute"], 5.0);
        let (first, last) = (summary.maxvio_first.unwrap(), summary.maxvio_last.unwrap());
        assert!(first > 0.29 && first < 0.3 && last > 0.06 && last < 0.07, "{first} {last}");
    }

    #[test]
    fn a_run_that_never_stepped_has_no_numbers() {
        let summary = Summary::new(Facts { state: "failed".to_owned(), ..Facts::default() }, &[]);
        let json = serde_json::to_value(&summary).unwrap();
        for key in ["train_loss", "validation_loss", "maxvio_first", "tokens_per_second", "checkpoint"] {
            assert!(json[key].is_null(), "{key}");
        }
        assert_eq!(json["state"], "failed");
    }
}
