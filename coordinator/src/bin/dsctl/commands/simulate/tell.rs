//! A run in words, or as JSON.

use ds_forecast::picture::Unit;
use ds_forecast::simulate::{Run, Summary};
use ds_plan::JobPlan;
use ds_topology::fabric::Fabric;
use serde_json::json;

use super::what_if::{Beside, Evaluated, json_of, text_of};
use crate::failure::Failure;
use crate::output::{Format, data, json as print};
use crate::show::numbers::bytes;
use crate::show::table::table;

pub(super) fn tell(
    plan: &JobPlan,
    fabric: &Fabric,
    run: &Run,
    summary: &Summary,
    (base, cases): (&Evaluated, &[Beside]),
    format: Format,
) -> Result<(), Failure> {
    let phase = &plan.spec().train[0];
    let tokens = f64::from(phase.batch) * f64::from(phase.sequence);
    let step = run.seconds() / summary.step_seconds.len().max(1) as f64;
    match format {
        Format::Json => {
            let mut facts = json!({
                "job": plan.spec().name,
                "fabric": fabric.name(),
                "seconds": run.seconds(),
                "step_seconds": summary.step_seconds,
                "tokens_per_second": tokens / step,
                "verdict": summary.verdict(),
                "blame": summary.blame,
                "phases": summary.phases,
                "links": summary.links,
                "ranks": summary.ranks,
                "ranks_played": summary.ranks_played,
                "strands_played": summary.strands_played,
            });
            if !cases.is_empty() {
                facts["what_if"] = json_of(base, cases);
            }
            print(&facts)
        }
        Format::Text => {
            let mut lines = text(plan, fabric, summary, step, tokens);
            if !cases.is_empty() {
                lines.push(String::new());
                lines.extend(text_of(base, cases));
            }
            data(lines.join("\n"))
        }
    }
}

fn text(plan: &JobPlan, fabric: &Fabric, summary: &Summary, step: f64, tokens: f64) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} on {}: {} a step, {:.0} tokens/s",
            plan.spec().name,
            fabric.name(),
            // Steps are compared with each other: three digits would be too few.
            if step < 1.0 { Unit::Seconds.text(step) } else { format!("{step:.3} s") },
            tokens / step
        ),
        summary.verdict(),
        String::new(),
    ];
    let seconds = |seconds: f64| Unit::Seconds.text(seconds);
    let rows: Vec<Vec<String>> = summary
        .phases
        .iter()
        .map(|phase| {
            vec![
                phase.name.to_owned(),
                seconds(phase.seconds),
                seconds(phase.compute_seconds),
                seconds(phase.exchange_seconds),
                seconds(phase.waiting_seconds),
                seconds(phase.bound_seconds),
                phase.bottleneck.clone(),
            ]
        })
        .collect();
    let head = ["phase", "takes", "computes", "exchange alone", "waits", "at least", "bound by"];
    lines.extend(table(&head, &rows));
    lines.push(String::new());
    let rows: Vec<Vec<String>> = summary
        .links
        .iter()
        .map(|link| {
            let share = format!("{:.1}%", 100.0 * link.utilization);
            vec![link.name.clone(), link.count.to_string(), bytes(link.bytes as u64), share]
        })
        .collect();
    lines.extend(table(&["busiest link", "alike", "bytes each", "of capacity"], &rows));
    lines.push(String::new());
    lines.push(format!(
        "{} ranks, {} of them played, each for all that fare alike; {} paths of messages played",
        summary.ranks, summary.ranks_played, summary.strands_played
    ));
    lines
}
