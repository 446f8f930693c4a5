//! `dsctl fabric compare`: topologies side by side.

use ds_topology::fabric::{Facts, PaperRow, Rate, paper_table};
use serde_json::{Value, json};

use super::source::read_fabric;
use crate::failure::Failure;
use crate::output::{Exit, Format, FormatArgs, data, json};
use crate::show::table::table;

/// Compare networks: counts, bisection and cost side by side
///
/// Without arguments: the topology table of "Insights into DeepSeek-V3" (arXiv 2505.09343), counted and priced anew.
#[derive(clap::Args)]
pub(super) struct Args {
    /// YAML files, or names of fabrics that come with the program
    #[arg(value_name = "FABRIC")]
    fabrics: Vec<String>,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        if self.fabrics.is_empty() {
            let rows = paper_table();
            match self.format.format {
                Format::Text => data(paper_page(&rows))?,
                Format::Json => json(&Value::from(rows.iter().map(|row| json!(row)).collect::<Vec<_>>()))?,
            }
            return Ok(Exit::Done);
        }
        let facts: Result<Vec<Facts>, Failure> =
            self.fabrics.iter().map(|given| Ok(read_fabric(given)?.facts())).collect();
        let facts = facts?;
        match self.format.format {
            Format::Text => data(page(&facts))?,
            Format::Json => json(&json!(facts))?,
        }
        Ok(Exit::Done)
    }
}

fn paper_page(rows: &[PaperRow]) -> String {
    let head = ["", "endpoints", "switches", "links", "cost M$", "k$/endpoint", "paper M$", "off by", "counted"];
    let cells = |row: &PaperRow| {
        let counts = row.counts;
        vec![
            row.name.to_owned(),
            counts.endpoints.to_string(),
            counts.switches.to_string(),
            counts.links.to_string(),
            format!("{:.1}", counts.cost / 1e6),
            format!("{:.2}", row.cost_per_endpoint / 1e3),
            format!("{:.0}", row.published_cost / 1e6),
            format!("{:+.2}%", (counts.cost / row.published_cost - 1.0) * 100.0),
            row.how.to_owned(),
        ]
    };
    table(&head, &rows.iter().map(cells).collect::<Vec<_>>()).join("\n")
}

fn page(facts: &[Facts]) -> String {
    let head = ["name", "endpoints", "switches", "links", "diameter", "bisection/gpu", "cost M$", "k$/endpoint"];
    let cells = |facts: &Facts| {
        vec![
            facts.name.clone(),
            facts.counts.endpoints.to_string(),
            facts.counts.switches.to_string(),
            facts.counts.links.to_string(),
            facts.diameter.map_or_else(|| "-".to_owned(), |hops| hops.to_string()),
            if facts.counts.switches == 0 { "-".to_owned() } else { Rate(facts.bisection_per_gpu).to_string() },
            format!("{:.1}", facts.counts.cost / 1e6),
            format!("{:.2}", facts.cost_per_endpoint / 1e3),
        ]
    };
    table(&head, &facts.iter().map(cells).collect::<Vec<_>>()).join("\n")
}
