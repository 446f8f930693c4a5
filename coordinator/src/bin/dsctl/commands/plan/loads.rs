//! `--loads`: what a placement by load would have done in a run.

use std::collections::BTreeMap;
use std::path::Path;

use ds_plan::JobPlan;
use ds_plan::expert_placement::{Migrated, Rehearsal, rehearse};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files::read_text;
use crate::output::{Exit, Format, data, json as print};
use crate::show::table::table;

/// Migrations whose steps are named.
const NAMED: usize = 5;

/// A line of metrics.jsonl, as far as it is about loads.
#[derive(serde::Deserialize)]
struct Line {
    #[serde(default)]
    step: u64,
    #[serde(default)]
    loads: Vec<(u32, Vec<u64>)>,
}

/// Per layer, the step of each line that has loads, and the tokens of each expert.
type Layers = BTreeMap<u32, Vec<(u64, Vec<u64>)>>;

pub(super) fn run(plan: &JobPlan, path: &Path, format: Format) -> Result<Exit, Failure> {
    let refused = |reason: String| Failure::Loads { path: path.to_owned(), reason };
    let Some(policy) = plan.rebalance() else {
        return Err(refused("the job leaves experts where they are; add --set balance.placement=eplb".to_owned()));
    };
    let (slots, first) = (plan.expert_slots(), plan.first_placement());
    let layers = read(path)?;
    if layers.is_empty() {
        return Err(refused("no line has loads".to_owned()));
    }
    let mut rehearsed = BTreeMap::new();
    for (layer, steps) in &layers {
        if let Some((step, tokens)) = steps.iter().find(|(_, tokens)| tokens.len() != first.n_experts() as usize) {
            let (found, needed) = (tokens.len(), first.n_experts());
            return Err(refused(format!("layer {layer}, step {step}: {found} loads, the job has {needed} experts")));
        }
        // Lines count steps from 1.
        let steps = steps.iter().map(|(step, tokens)| (step.saturating_sub(1), tokens.as_slice()));
        rehearsed.insert(*layer, rehearse(policy, &first, slots, steps));
    }
    match format {
        Format::Text => data(said(&rehearsed).join("\n"))?,
        Format::Json => print(&rehearsed.iter().map(|(layer, of)| facts(*layer, of)).collect())?,
    }
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<Layers, Failure> {
    let mut layers = Layers::new();
    let text = read_text(path)?;
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let refused = |error| Failure::Loads { path: path.to_owned(), reason: format!("line {}: {error}", number + 1) };
        let line: Line = serde_json::from_str(line).map_err(refused)?;
        for (layer, tokens) in line.loads {
            layers.entry(layer).or_default().push((line.step, tokens));
        }
    }
    Ok(layers)
}

fn said(rehearsed: &BTreeMap<u32, Rehearsal>) -> Vec<String> {
    let row = |(layer, of): (&u32, &Rehearsal)| {
        let named = of.migrations.iter().take(NAMED).map(|one| (one.step + 1).to_string()).collect::<Vec<_>>();
        let more = if of.migrations.len() > NAMED { " …" } else { "" };
        vec![
            layer.to_string(),
            of.n_steps.to_string(),
            format!("{:.3}", of.imbalance_fixed),
            format!("{:.3}", of.imbalance),
            of.migrations.len().to_string(),
            of.migrations.iter().map(|one| one.n_moves).sum::<usize>().to_string(),
            format!("{}{more}", named.join(" ")),
        ]
    };
    let rows: Vec<Vec<String>> = rehearsed.iter().map(row).collect();
    let head = ["layer", "steps", "busiest, fixed", "busiest, moving", "migrations", "slots moved", "after steps"];
    let mut lines = table(&head, &rows);
    lines.push("busiest: how many times the mean load the busiest rank has, in the mean over steps".to_owned());
    lines
}

fn facts(layer: u32, of: &Rehearsal) -> Value {
    let migration = |one: &Migrated| {
        json!({
            "step": one.step + 1,
            "moves": one.n_moves,
            "imbalance": one.imbalance,
            "expected": one.expected,
        })
    };
    json!({
        "layer": layer,
        "steps": of.n_steps,
        "imbalance_fixed": of.imbalance_fixed,
        "imbalance": of.imbalance,
        "migrations": of.migrations.iter().map(migration).collect::<Vec<_>>(),
    })
}
