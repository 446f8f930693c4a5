//! Predicted against published, row by row and group by group.

use serde::Serialize;

use super::csv::CsvError;
use super::row::{Measure, Row, Rows, read};
use crate::estimate::{StepEstimate, estimate};
use crate::hardware::{self, Hardware};

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It counts for its group.
    Judged,
    /// It was recalled, not read: shown only.
    Shown,
    /// It cannot be predicted.
    Refused {
        /// Why.
        reason: String,
    },
}

/// A row with its prediction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// Its name in the file.
    pub id: String,
    /// Rows that are judged together.
    pub group: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Whether constants were fitted on it.
    pub fitted: bool,
    /// In the unit of the file.
    pub published: f64,
    /// In the unit of the file.
    pub predicted: f64,
    /// predicted / published - 1; of seconds where speed was published, so that positive is too slow.
    pub error: f64,
    /// The parts of the predicted step, in seconds.
    pub parts: Vec<(&'static str, f64)>,
}

/// Rows that are judged together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// As in the rows.
    pub name: String,
    /// Rows that count.
    pub judged: usize,
    /// Of them, rows that constants were fitted on.
    pub fitted: usize,
    /// Rows that are only shown.
    pub shown: usize,
    /// Rows that could not be predicted.
    pub refused: usize,
    /// Mean of the sizes of the errors of judged rows.
    pub mean_error: f64,
    /// The largest of them.
    pub max_error: f64,
    /// Their mean with sign.
    pub bias: f64,
}

/// What a file came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// In the order of the file.
    pub rows: Vec<Judged>,
    /// In the order of their first rows.
    pub groups: Vec<Group>,
}

/// Judges a file by the presets.
///
/// # Errors
/// When the text is no table.
pub fn judge(text: &str) -> Result<Report, CsvError> {
    Ok(report(read(text)?, &hardware::hardware))
}

/// Judges a file by other machines, for example calibrated ones.
///
/// # Errors
/// When the text is no table.
pub fn judge_with(text: &str, machine: &dyn Fn(&str) -> Option<Hardware>) -> Result<Report, CsvError> {
    Ok(report(read(text)?, machine))
}

fn report(rows: Rows, machine: &dyn Fn(&str) -> Option<Hardware>) -> Report {
    let rows: Vec<Judged> = rows.into_iter().map(|row| judged(row, machine)).collect();
    let mut names: Vec<&str> = Vec::new();
    for row in &rows {
        if !names.contains(&row.group.as_str()) {
            names.push(&row.group);
        }
    }
    let groups = names.into_iter().map(|name| group(name, &rows)).collect();
    Report { rows, groups }
}

fn judged(row: Result<Row, (String, String, String)>, machine: &dyn Fn(&str) -> Option<Hardware>) -> Judged {
    let refused = |id, group, reason| Judged {
        id,
        group,
        verdict: Verdict::Refused { reason },
        fitted: false,
        published: 0.0,
        predicted: 0.0,
        error: 0.0,
        parts: Vec::new(),
    };
    let row = match row {
        Ok(row) => row,
        Err((id, group, reason)) => return refused(id, group, reason),
    };
    let Some(hardware) = machine(&row.hardware) else {
        return refused(row.id, row.group, format!("hardware: {} is unknown", row.hardware));
    };
    let (predicted, parts) = match row.measure {
        Measure::Probe(probe) => (probe.predict(&hardware, &row.network, &row.layout), Vec::new()),
        _ => {
            let step = estimate(&hardware, &row.network, &row.layout);
            (of_step(&row, &step), step.parts.iter().map(|part| (part.name, part.seconds)).collect())
        }
    };
    let ratio = if row.measure.is_time() { predicted / row.published } else { row.published / predicted };
    Judged {
        fitted: super::fit::is_fitted(&row),
        id: row.id,
        group: row.group,
        verdict: if row.judged { Verdict::Judged } else { Verdict::Shown },
        published: row.published,
        predicted,
        error: ratio - 1.0,
        parts,
    }
}

/// What a row is predicted to be, in its unit.
pub(super) fn predicted(row: &Row, hardware: &Hardware) -> f64 {
    match row.measure {
        Measure::Probe(probe) => probe.predict(hardware, &row.network, &row.layout),
        _ => of_step(row, &estimate(hardware, &row.network, &row.layout)),
    }
}

fn of_step(row: &Row, step: &StepEstimate) -> f64 {
    match row.measure {
        Measure::Seconds | Measure::Probe(_) => step.seconds(),
        Measure::TokensPerGpu => step.tokens_per_second() / f64::from(step.gpus),
        Measure::TeraflopsPerGpu { causal } => step.flops_per_gpu(causal) / 1e12,
        Measure::Utilization { causal } => 100.0 * step.utilization(causal),
        Measure::TokensPerDay => step.tokens_per_second() * 86_400.0 / 1e9,
        Measure::Parts(names) => names.iter().map(|name| step.part(name)).sum(),
    }
}

fn group(name: &str, rows: &[Judged]) -> Group {
    let own = || rows.iter().filter(|row| row.group == name);
    let errors: Vec<f64> = own().filter(|row| row.verdict == Verdict::Judged).map(|row| row.error).collect();
    let n = errors.len().max(1) as f64;
    Group {
        name: name.to_owned(),
        judged: errors.len(),
        fitted: own().filter(|row| row.fitted && row.verdict == Verdict::Judged).count(),
        shown: own().filter(|row| row.verdict == Verdict::Shown).count(),
        refused: own().filter(|row| matches!(row.verdict, Verdict::Refused { .. })).count(),
        mean_error: errors.iter().map(|error| error.abs()).sum::<f64>() / n,
        max_error: errors.iter().map(|error| error.abs()).fold(0.0, f64::max),
        bias: errors.iter().sum::<f64>() / n,
    }
}
