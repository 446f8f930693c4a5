//! `--rows`: predicted against published runs.

use std::path::Path;

use ds_forecast::picture::Unit;
use ds_forecast::rows::{Group, Judged, Report, Verdict, judge_with};

use super::machine::MachineArgs;
use crate::failure::Failure;
use crate::files::read_text;
use crate::output::{Exit, Format, data, json};
use crate::show::table::table;

pub(super) fn run(path: &Path, machine: &MachineArgs, format: Format) -> Result<Exit, Failure> {
    let text = read_text(path)?;
    let refused = |reason: String| Failure::Rows { path: path.to_owned(), reason };
    let report = judge_with(&text, &machine.by_name()?).map_err(|error| refused(error.to_string()))?;
    match format {
        Format::Json => json(&serde_json::json!(report))?,
        Format::Text => data(said(&report))?,
    }
    Ok(Exit::Done)
}

fn said(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report.rows.iter().map(row).collect();
    let groups: Vec<Vec<String>> = report.groups.iter().map(group).collect();
    let mut lines = table(&["row", "group", "published", "predicted", "error", "judged"], &rows);
    lines.push(String::new());
    let head = ["group", "judged", "fitted on", "shown", "refused", "mean error", "largest", "bias"];
    lines.extend(table(&head, &groups));
    lines.join("\n")
}

fn row(row: &Judged) -> Vec<String> {
    let verdict = match &row.verdict {
        Verdict::Judged if row.fitted => "yes, fitted on it".to_owned(),
        Verdict::Judged => "yes".to_owned(),
        Verdict::Shown => "shown only".to_owned(),
        Verdict::Refused { reason } => return [&row.id, &row.group, "-", "-", "-", reason].map(str::to_owned).to_vec(),
    };
    let [published, predicted] = [row.published, row.predicted].map(|value| format!("{value:.4}"));
    vec![row.id.clone(), row.group.clone(), published, predicted, signed(row.error), verdict]
}

fn group(group: &Group) -> Vec<String> {
    let mut cells = vec![group.name.clone()];
    cells.extend([group.judged, group.fitted, group.shown, group.refused].map(|n| n.to_string()));
    cells.extend([Unit::Share.text(group.mean_error), Unit::Share.text(group.max_error), signed(group.bias)]);
    cells
}

fn signed(share: f64) -> String {
    format!("{}{}", if share > 0.0 { "+" } else { "" }, Unit::Share.text(share))
}
