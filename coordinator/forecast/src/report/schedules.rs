//! All schedules of a grid beside each other, as text, as JSON and as a picture.

use ds_plan::JobPlan;
use serde_json::{Value, json};

use super::aligned::aligned;
use super::pictures::schedule_picture;
use crate::picture::{Picture, Unit};
use crate::schedules::{Candidate, Fare, Numbers};
use crate::search::Machine;

const HEAD: [&str; 9] =
    ["schedule", "stages a rank", "idle, even", "idle", "live", "sends ahead", "memory", "step", "about"];

/// A table, why the others are refused, and every one drawn.
pub fn schedules_text(own: &JobPlan, machine: &Machine, all: &[Candidate]) -> String {
    let grid = own.grid();
    let (pipeline, m, ranks) = (grid.n_pipeline(), own.n_microbatches(), grid.n_ranks());
    let mut text = format!("schedules of pipeline {pipeline}, {m} microbatches a step, on {ranks} ranks\n");
    let rows: Vec<Vec<String>> = possible(all).map(|(one, fare)| row(one, fare, own, machine, all)).collect();
    text += &aligned(&HEAD, &rows, &[0, 8]);
    text += "  idle: share of a step when stages cost the same, and by the estimated cost of each\n";
    text += "  live: microbatches whose activations a rank holds at most, of an even share of the model\n";
    text += "  sends ahead: messages that a link must be able to hold while its receiver is busy\n";
    let refused: Vec<(String, &String)> =
        all.iter().filter_map(|one| Some((name(one), one.outcome.as_ref().err()?))).collect();
    if !refused.is_empty() {
        text += "\nrefused\n";
        let width = refused.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        text.extend(refused.iter().map(|(name, reason)| format!("  {name:<width$}  {reason}\n")));
    }
    for (one, fare) in possible(all) {
        text += &format!("\n{}; forward F takes 1, backward B takes 2{}\n", name(one), fare.drawn.legend);
        text.extend(fare.drawn.drawing.lines().map(|line| format!("  {line}\n")));
    }
    text
}

/// All of it, for programs.
pub fn schedules_json(own: &JobPlan, all: &[Candidate]) -> Value {
    let one = |one: &Candidate| {
        let mut facts = json!({
            "schedule": one.kind.to_string(),
            "virtual_stages": one.virtual_stages,
            "own": is_own(one, own),
        });
        match &one.outcome {
            Err(reason) => facts["refused"] = json!(reason),
            Ok(fare) => {
                facts["fares"] = json!(fare.numbers);
                facts["drawing"] = json!(fare.drawn.drawing);
            }
        }
        facts
    };
    json!({
        "pipeline": own.grid().n_pipeline(),
        "microbatches": own.n_microbatches(),
        "ranks": own.grid().n_ranks(),
        "schedules": all.iter().map(one).collect::<Vec<_>>(),
    })
}

/// Every schedule that can be, played with the estimated time of every pass, under each other.
pub fn schedules_picture(machine: &Machine, all: &[Candidate]) -> Picture {
    let draw = |(_, fare): (&Candidate, &Fare)| schedule_picture(&fare.plan, &machine.hardware);
    let drawn: Vec<Picture> = possible(all).filter_map(draw).collect();
    Picture::stacked(&drawn, "Schedules of one grid")
}

fn possible(all: &[Candidate]) -> impl Iterator<Item = (&Candidate, &Fare)> {
    all.iter().filter_map(|one| Some((one, one.outcome.as_ref().ok()?)))
}

fn name(one: &Candidate) -> String {
    if one.kind.is_looped() { format!("{} x{}", one.kind, one.virtual_stages) } else { one.kind.to_string() }
}

fn is_own(one: &Candidate, own: &JobPlan) -> bool {
    let parallel = &own.spec().parallel;
    (one.kind, one.virtual_stages) == (parallel.schedule, parallel.virtual_stages)
}

fn row(one: &Candidate, fare: &Fare, own: &JobPlan, machine: &Machine, all: &[Candidate]) -> Vec<String> {
    let n = &fare.numbers;
    let share = |share: f64| format!("{:.1}%", 100.0 * share);
    vec![
        name(one),
        n.stages_each.to_string(),
        share(n.bubble_share_even),
        share(n.bubble_share),
        format!("{:.1}", n.live_microbatches),
        n.sends_ahead.to_string(),
        ds_plan::bytes(n.memory_bytes),
        Unit::Seconds.text(n.step_seconds),
        about(n, is_own(one, own), is_fastest(n, all), machine),
    ]
}

fn is_fastest(n: &Numbers, all: &[Candidate]) -> bool {
    n.fits && possible(all).all(|(_, other)| !other.numbers.fits || other.numbers.step_seconds >= n.step_seconds)
}

fn about(n: &Numbers, is_own: bool, is_fastest: bool, machine: &Machine) -> String {
    let have = ds_plan::bytes(machine.hardware.memory_bytes as u64);
    let words = [
        is_own.then(|| "the job's own".to_owned()),
        is_fastest.then(|| "the fastest that fits".to_owned()),
        (!n.fits).then(|| format!("does not fit into {have}")),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
