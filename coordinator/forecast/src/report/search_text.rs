//! What a search found, as text and as JSON.

use serde_json::{Value, json};

use super::aligned::aligned;
use crate::picture::Unit;
use crate::search::{Found, Layout, Ranked, Rejected};

/// Layouts that are shown.
pub(super) const N_BEST: usize = 10;

pub(super) const HEAD: [&str; 10] =
    ["place", "layout", "step", "tokens/s", "MFU causal", "memory", "bubble", "exchange", "data", "against the first"];

/// The best layouts, why the others are out, and how to take the first.
pub fn search_text(found: &Found) -> String {
    let mut text = format!("search\n  {}\n", summary(found));
    if !found.ranked.is_empty() {
        text += &aligned(&HEAD, &rows(found, N_BEST), &[1]);
    }
    if !found.rejected.is_empty() {
        text += "\nrejected, each kind with the layout that comes closest\n";
        for Rejected { kind, count, example, reason } in &found.rejected {
            text += &format!("  {count:>6}  {kind}\n          {example}\n          {reason}\n");
        }
    }
    if let Some(best) = found.ranked.first() {
        text += &format!("\nto take the first\n  {}\n", best.layout.flags());
    }
    if let Some((place, one)) = found.ranked.iter().enumerate().skip(1).find(|(_, one)| one.runs_today)
        && !found.ranked[0].runs_today
    {
        let seconds = Unit::Seconds.text(one.forecast.seconds());
        text +=
            &format!("\nto take the fastest that workers run today: place {}, {}, {seconds}\n", place + 1, one.layout);
        text += &format!("  {}\n", one.layout.flags());
    }
    text
}

/// All of it, for programs.
pub fn search_json(found: &Found) -> Value {
    let layout = |layout: Layout| layout.keys().into_iter().collect::<std::collections::BTreeMap<_, _>>();
    let ranked = |one: &Ranked| {
        json!({
            "layout": layout(one.layout),
            "name": one.layout.to_string(),
            "step_seconds": one.forecast.seconds(),
            "tokens_per_second": one.forecast.tokens_per_second(),
            "mfu_causal": one.forecast.utilization(true),
            "mfu": one.forecast.utilization(false),
            "parts": one.forecast.parts.iter().map(|part| (part.name, part.seconds)).collect::<std::collections::BTreeMap<_, _>>(),
            "memory_bytes": one.memory.total(),
            "memory": one.memory,
            "largest_at": one.largest_at,
            "runs_today": one.runs_today,
        })
    };
    let rejected: Vec<Value> = found
        .rejected
        .iter()
        .map(|r| {
            json!({
                "kind": r.kind,
                "count": r.count,
                "example": layout(r.example),
                "name": r.example.to_string(),
                "reason": r.reason.to_string(),
            })
        })
        .collect();
    let own = found.own.as_ref().map(|own| match own {
        Ok(place) => json!({ "place": place + 1 }),
        Err(reason) => json!({ "rejected": reason.to_string() }),
    });
    json!({
        "enumerated": found.n_enumerated,
        "ranked": found.ranked.iter().map(ranked).collect::<Vec<_>>(),
        "rejected": rejected,
        "own": own,
        "flags": found.ranked.first().map(|one| one.layout.flags()),
        "yaml": found.ranked.first().map(|one| one.layout.yaml()),
    })
}

/// What came of it, in a sentence or two.
pub(super) fn summary(found: &Found) -> String {
    let (n, fit) = (found.n_enumerated, found.ranked.len());
    let own = match &found.own {
        None => "the job's own layout takes another number of GPUs".to_owned(),
        Some(Err(reason)) => format!("the job's own layout is out: {reason}"),
        Some(Ok(place)) => {
            let [own, best] = [found.ranked[*place].forecast.seconds(), found.ranked[0].forecast.seconds()];
            let [own_text, slower] = [Unit::Seconds.text(own), Unit::Share.text(own / best - 1.0)];
            if *place == 0 {
                format!("the job's own layout is the fastest: {own_text} a step")
            } else {
                let place = place + 1;
                format!("the job's own layout takes place {place}: {own_text} a step, {slower} slower than the first")
            }
        }
    };
    let today = match found.ranked.iter().position(|one| one.runs_today) {
        Some(0) => "; workers run the first one today".to_owned(),
        Some(place) => format!("; what is faster than place {} is planned only: workers do not run it yet", place + 1),
        None if fit > 0 => "; workers run none of them yet".to_owned(),
        None => String::new(),
    };
    format!("{n} layouts, {fit} fit; {own}{today}")
}

/// One row a layout.
pub(super) fn rows(found: &Found, n: usize) -> Vec<Vec<String>> {
    let first = found.ranked.first().map_or(0.0, |one| one.forecast.seconds());
    let row = |(place, one): (usize, &Ranked)| {
        let forecast = &one.forecast;
        let part = |name: &str| Unit::Seconds.text(forecast.part(name));
        vec![
            (place + 1).to_string(),
            one.layout.to_string(),
            Unit::Seconds.text(forecast.seconds()),
            Unit::Count("").text(forecast.tokens_per_second()),
            Unit::Share.text(forecast.utilization(true)),
            ds_plan::bytes(one.memory.total()),
            part("bubble"),
            // Where the passes are played, what is left of exchanges is part of them.
            if forecast.part("forward") > 0.0 { "in passes".to_owned() } else { part("exchange") },
            part("data"),
            format!("+{}", Unit::Share.text(forecast.seconds() / first - 1.0)),
        ]
    };
    found.ranked.iter().take(n).enumerate().map(row).collect()
}
