//! `dsctl fabric show`: counts, bisection, diameter, cost.

use ds_topology::fabric::{Facts, Rate};
use serde_json::json;

use super::source::FabricArgs;
use crate::failure::Failure;
use crate::output::{Exit, Format, FormatArgs, data, json};
use crate::show::numbers::count;

/// Show counts, bisection, diameter and cost of a network
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    fabric: FabricArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let facts = self.fabric.read()?.facts();
        match self.format.format {
            Format::Text => data(page(&facts))?,
            Format::Json => json(&json!(facts))?,
        }
        Ok(Exit::Done)
    }
}

fn page(facts: &Facts) -> String {
    let Facts { counts, nodes, gpus_per_node, planes, .. } = facts;
    let planes = if *planes > 1 { format!(" on {planes} planes") } else { String::new() };
    let mut lines = vec![
        format!("{}: {}{planes}", facts.name, facts.kind.replace('_', " ")),
        format!("  endpoints   {}  ({nodes} nodes x {gpus_per_node} GPUs)", counts.endpoints),
    ];
    if counts.switches > 0 {
        let diameter = match facts.diameter {
            Some(hops) => format!("{hops} cables between the switches that are farthest apart"),
            None => "some switches cannot reach each other".to_owned(),
        };
        let bisection = (Rate(facts.bisection), Rate(facts.bisection_per_gpu));
        lines.extend([
            format!("  switches    {}", counts.switches),
            format!("  cables      {}  between switches", counts.links),
            format!("  bisection   {}  ({} for each GPU of a half)", bisection.0, bisection.1),
            format!("  diameter    {diameter}"),
            format!("  cost        {} $  ({} $ for each endpoint)", count(counts.cost), count(facts.cost_per_endpoint)),
        ]);
    }
    if !facts.faults.is_empty() {
        let down = if facts.links_down > 0 { format!("  ({} links down)", facts.links_down) } else { String::new() };
        lines.push(format!("  faults      {}{down}", facts.faults.join(", ")));
    }
    lines.join("\n")
}
