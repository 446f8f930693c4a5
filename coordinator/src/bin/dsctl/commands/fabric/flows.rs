//! `dsctl fabric flows`: when flows of a file end.

use std::path::PathBuf;

use ds_topology::flow::{Case, HeldBy, Network, Outcome, Watch, Watched};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files::read_bytes;
use crate::output::{self, Exit, Format, FormatArgs, data};

/// Links in text: the busiest.
const LINKS_SHOWN: usize = 10;

/// Show when each flow of a case ends, under max-min fair sharing
#[derive(clap::Args)]
pub(super) struct Args {
    /// Links and flows, as JSON
    #[arg(value_name = "CASE.json")]
    case: PathBuf,
    /// Show what each link carries, and what holds each flow back at its end
    #[arg(long)]
    links: bool,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let text = read_bytes(&self.case)?;
        let refused = |reason: String| Failure::Flows { path: self.case.clone(), reason };
        let case = Case::parse(&text).map_err(|error| refused(error.to_string()))?;
        let outcome = if self.links {
            case.watch(Watch { moments: 0 }).map(|(outcome, watched)| (outcome, Some(watched)))
        } else {
            case.run().map(|outcome| (outcome, None))
        };
        let (Outcome { finish, makespan }, watched) = outcome.map_err(|error| refused(error.to_string()))?;
        match self.format.format {
            Format::Json => {
                let mut facts = json!({ "name": case.name, "finish_s": finish, "makespan_s": makespan });
                if let Some(watched) = &watched {
                    let network = case.network();
                    facts["links"] = links(&network, watched);
                    facts["held_by"] = watched.held_by.iter().map(|held_by| held(&network, *held_by)).collect();
                }
                output::json(&facts)?;
            }
            Format::Text => {
                let mean = finish.iter().sum::<f64>() / finish.len().max(1) as f64;
                data(format_args!(
                    "{}: {} flows, all ended after {makespan:.9} s, {mean:.9} s in the mean",
                    case.name,
                    finish.len()
                ))?;
                if let Some(watched) = &watched {
                    busiest(&case.network(), watched)?;
                }
            }
        }
        Ok(Exit::Done)
    }
}

fn links(network: &Network, watched: &Watched) -> Value {
    let link = |l: usize| {
        let (carried, busy, peak) = (watched.carried[l], watched.busy[l], watched.peak[l]);
        json!({ "name": network[l].name, "carried_bytes": carried, "busy_s": busy, "peak": peak })
    };
    (0..network.len()).map(link).collect()
}

/// The name of a link; `own limit`, or nothing.
fn held(network: &Network, held_by: HeldBy) -> Value {
    match held_by {
        HeldBy::Nothing => Value::Null,
        HeldBy::OwnLimit => json!("own limit"),
        HeldBy::Link(link) => json!(network[link.0 as usize].name),
    }
}

/// Links that take longest for what they carry, and how many flows each holds back.
fn busiest(network: &Network, watched: &Watched) -> Result<(), Failure> {
    let mut n_held = vec![0_usize; network.len()];
    for held_by in &watched.held_by {
        if let HeldBy::Link(link) = held_by {
            n_held[link.0 as usize] += 1;
        }
    }
    let least_seconds = |l: usize| watched.carried[l] / network[l].capacity;
    let mut order: Vec<usize> = (0..network.len()).filter(|&l| watched.carried[l] > 0.0).collect();
    order.sort_by(|&a, &b| least_seconds(b).total_cmp(&least_seconds(a)).then(a.cmp(&b)));
    for &l in order.iter().take(LINKS_SHOWN) {
        data(format_args!(
            "{}: {} bytes, at least {:.9} s, busy {:.9} s, peak {:.1}%, holds {} flows back at their end",
            network[l].name,
            watched.carried[l],
            least_seconds(l),
            watched.busy[l],
            100.0 * watched.peak[l],
            n_held[l]
        ))?;
    }
    if order.len() > LINKS_SHOWN {
        data(format_args!("and {} links more", order.len() - LINKS_SHOWN))?;
    }
    Ok(())
}
