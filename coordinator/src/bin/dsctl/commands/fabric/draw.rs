//! `dsctl fabric draw`: a network as a picture, coloured by load.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ds_topology::draw::draw;
use ds_topology::fabric::Fabric;
use ds_topology::routing::{FabricRoutes, Policy, all_to_all};

use super::source::FabricArgs;
use crate::failure::Failure;
use crate::files::{read_bytes, write_text};
use crate::output::{Exit, talk};

/// What each GPU sends in all, for `--load all-to-all`.
const BYTES: f64 = 1e9;

/// Draw a network as SVG, coloured by how long its links are busy
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    fabric: FabricArgs,
    /// Where the drawing goes
    #[arg(short, long, value_name = "FILE.svg")]
    output: PathBuf,
    /// Colours by load: `all-to-all` (1 GB from each GPU), or JSON of bytes by the names of links
    #[arg(long, value_name = "all-to-all|FILE.json")]
    load: Option<String>,
    /// How messages are routed for --load all-to-all: static, static-rail, ecmp[:SEED], adaptive, spray or valiant[:SEED]
    #[arg(long, value_name = "POLICY", default_value_t = Policy::Static)]
    routing: Policy,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let fabric = Arc::new(self.fabric.read()?);
        let loads = match self.load.as_deref() {
            None => None,
            Some("all-to-all") => {
                let mut routes = FabricRoutes::new(fabric.clone(), self.routing);
                let cut_off = |error| Failure::CutOff { given: self.fabric.name().to_owned(), error };
                Some(all_to_all(&mut routes, BYTES).map_err(cut_off)?)
            }
            Some(file) => Some(read_loads(&fabric, file)?),
        };
        write_text(&self.output, &draw(&fabric, loads.as_deref()))?;
        talk(format_args!("{} is drawn in {}", fabric.name(), self.output.display()));
        Ok(Exit::Done)
    }
}

/// `{ "P0.h0.up": 1000000, … }`; links that are not named carry nothing.
fn read_loads(fabric: &Fabric, file: &str) -> Result<Vec<f64>, Failure> {
    let text = read_bytes(Path::new(file))?;
    let refused = |reason: String| Failure::Flows { path: file.into(), reason };
    let bytes: HashMap<String, f64> = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
    if let Some((name, bytes)) = bytes.iter().find(|(_, bytes)| !(bytes.is_finite() && **bytes >= 0.0)) {
        return Err(refused(format!("{name}: {bytes} bytes must be finite and not negative")));
    }
    let loads: Vec<f64> = fabric.network().iter().map(|link| bytes.get(&link.name).copied().unwrap_or(0.0)).collect();
    let known = fabric.network().iter().filter(|link| bytes.contains_key(&link.name)).count();
    if known < bytes.len() {
        let names: std::collections::HashSet<&str> = fabric.network().iter().map(|link| link.name.as_str()).collect();
        let mut unknown: Vec<&String> = bytes.keys().filter(|name| !names.contains(name.as_str())).collect();
        unknown.sort();
        return Err(refused(format!("{} has no link {}", fabric.name(), unknown[0])));
    }
    Ok(loads)
}
