//! Execution traces in place of a step of our own.

use std::path::{Path, PathBuf};

use ds_forecast::trace::chakra::{Node, play, read};
use ds_topology::fabric::Fabric;
use ds_topology::routing::{FabricRoutes, Policy};
use serde_json::json;

use crate::failure::Failure;
use crate::files::read_bytes;
use crate::output::{Format, data, json as print};

/// Plays traces, one a rank in this order.
pub(super) fn run(paths: &[PathBuf], fabric: &Fabric, routing: Policy, format: Format) -> Result<(), Failure> {
    let ranks = paths.iter().map(|path| one(path)).collect::<Result<Vec<_>, _>>()?;
    let mut routes = FabricRoutes::new(fabric.clone(), routing);
    let run = play(&ranks, &mut routes).map_err(|error| Failure::Simulation { reason: error.to_string() })?;
    let ends: Vec<f64> = run.ends.iter().map(|nodes| nodes.iter().copied().fold(0.0, f64::max)).collect();
    match format {
        Format::Json => print(&json!({
            "fabric": fabric.name(),
            "seconds": run.seconds,
            "ranks": ranks.len(),
            "flows": run.n_flows,
            "rank_seconds": ends,
            "node_seconds": run.ends,
        })),
        Format::Text => {
            let last = ends.iter().copied().enumerate().reduce(|a, b| if b.1 > a.1 { b } else { a });
            let last =
                last.map_or(String::new(), |(rank, seconds)| format!("; rank {rank} is last, after {seconds:.6} s"));
            let (n, name, seconds) = (ranks.len(), fabric.name(), run.seconds);
            data(format_args!("{n} ranks on {name}: {seconds:.6} s, {} flows{last}", run.n_flows))
        }
    }
}

fn one(path: &Path) -> Result<Vec<Node>, Failure> {
    read(&read_bytes(path)?).map_err(|error| Failure::Loads { path: path.to_owned(), reason: error.to_string() })
}
