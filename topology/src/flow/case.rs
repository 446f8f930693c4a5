//! A simulation as a JSON file: links, flows, what happens meanwhile, and what another simulator found.
//!
//! `platform.links` lists `[name, bytes per second, latency in seconds]`, each one direction. `flows` lists `[source,
//! destination, bytes, start_s, delay_s, deps, path]`: a flow begins at the latest of its start and the ends of the flows
//! `deps`, plus its delay and the latencies of the links `path`, and then takes its share of each; without a path it only
//! takes time. In place of `flows`, a `generator` may name all ordered pairs of endpoints, with paths by the rule of
//! `platform.kind`. `weighting` is `equal …` or `1/path_latency …`. Optional: `limits`, `[flow, bytes per second]`, what
//! a flow takes at most; and `changes` during the run:
//!
//! ```json
//! "changes": [
//!     { "at_s": 0.5, "link": 3, "bytes_per_s": 0 },
//!     { "at_s": 0.5, "flow": 7, "path": [0, 4, 9] },
//!     { "at_s": 2.0, "link": 3, "bytes_per_s": 5e10 }
//! ]
//! ```
//!
//! A link is one by its number or its name. Over a link with 0 flows stand still until it is repaired; see [`Change`].

use serde::Deserialize;

use super::change::Change;
use super::error::FlowError;
use super::flow_set::FlowSet;
use super::generate::{GenerateError, Generator, generate};
use super::problem::{Flow, FlowId, Link, LinkId, Network, Weighting};
use super::rule::Sizes;
use super::simulate::{Outcome, Simulation};
use super::watch::{Watch, Watched};

/// A simulation as a JSON file.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// For people.
    pub name: String,
    /// `equal …`, or `1/path_latency …`.
    pub weighting: String,
    /// The links.
    pub platform: Platform,
    /// `[src, dst, bytes, start_s, delay_s, deps, path]`; absent where a generator makes them.
    flows: Option<Vec<FlowRow>>,
    generator: Option<Generator>,
    /// `[flow, bytes per second]`: what a flow takes at most.
    #[serde(default)]
    limits: Vec<(u32, f64)>,
    #[serde(default)]
    changes: Vec<ChangeRow>,
    /// What another simulator found.
    pub expected: Option<Expected>,
}

/// The links of a case.
#[derive(Clone, Debug, Deserialize)]
pub struct Platform {
    /// What the links form.
    pub kind: String,
    /// `[name, bytes per second, latency in seconds]`, each one direction.
    links: Vec<(String, f64, f64)>,
    #[serde(default)]
    params: serde_json::Value,
}

/// What another simulator found.
#[derive(Clone, Debug, Deserialize)]
pub struct Expected {
    /// When all flows had ended.
    pub makespan_s: f64,
    /// The mean of when each had.
    #[serde(default)]
    pub mean_finish_s: Option<f64>,
    /// When each had; absent for large cases.
    #[serde(default)]
    pub finish_s: Option<Vec<f64>>,
}

type FlowRow = (i64, i64, f64, f64, f64, Vec<u32>, Vec<u32>);

/// What happens during a run.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum ChangeRow {
    Capacity(CapacityRow),
    Reroute(RerouteRow),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CapacityRow {
    at_s: f64,
    link: LinkName,
    bytes_per_s: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RerouteRow {
    at_s: f64,
    flow: u32,
    path: Vec<LinkName>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum LinkName {
    Number(u32),
    Name(String),
}

/// Why a case cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// No flows.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Flows that make no sense.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// An unknown word.
    #[error("weighting `{0}` is not known; it begins with `equal` or `1/path_latency`")]
    Weighting(String),
    /// A limit for a flow that is not there.
    #[error("limits: flow {flow} is not there: there are {n} flows, counted from 0")]
    NoFlow {
        /// What it names.
        flow: u32,
        /// How many there are.
        n: usize,
    },
    /// A name that no link has.
    #[error("change {change}: no link is called `{name}`")]
    NoLink {
        /// The change, as its list counts.
        change: usize,
        /// What it names.
        name: String,
    },
}

impl Case {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it is not such a case; says at which line and column.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Its links.
    pub fn network(&self) -> Network {
        let link = |(name, capacity, latency): &(String, f64, f64)| Link {
            name: name.clone(),
            capacity: *capacity,
            latency: *latency,
        };
        self.platform.links.iter().map(link).collect()
    }

    /// Its flows, in the order of the file or of its generator.
    ///
    /// # Errors
    /// When it has neither flows nor a generator that is known.
    pub fn flows(&self) -> Result<Vec<Flow>, GenerateError> {
        let set = self.made()?;
        let flow = |flow| Flow {
            bytes: set.bytes(FlowId(flow)),
            start: set.start(flow),
            delay: set.delay(flow),
            deps: set.deps(FlowId(flow)).to_vec(),
            path: set.path(FlowId(flow)).collect(),
        };
        Ok(set.numbers().map(flow).collect())
    }

    /// Its flows with their limits, in the order of the file or of its generator.
    ///
    /// # Errors
    /// When it has neither flows nor a generator that is known, or limits flows that are not there.
    pub fn flow_set(&self) -> Result<FlowSet, CaseError> {
        let mut flows = self.made()?;
        for &(flow, bytes_per_s) in &self.limits {
            if flow as usize >= flows.len() {
                return Err(CaseError::NoFlow { flow, n: flows.len() });
            }
            flows.limit_to(FlowId(flow), bytes_per_s);
        }
        Ok(flows)
    }

    fn made(&self) -> Result<FlowSet, GenerateError> {
        let Some(rows) = &self.flows else {
            let generator = self.generator.as_ref().ok_or(GenerateError::Nothing)?;
            let Platform { kind, params, .. } = &self.platform;
            let sizes = match params {
                serde_json::Value::Null => Sizes::default(),
                params => Sizes::deserialize(params).map_err(|error| GenerateError::Sizes(error.to_string()))?,
            };
            return generate(generator, (kind, &sizes), &self.network());
        };
        let n_hops = rows.iter().map(|row| row.6.len()).sum();
        let mut flows = FlowSet::with_room(rows.len(), n_hops);
        for (_, _, bytes, start, delay, deps, path) in rows {
            let path = flows.add_path(path.iter().copied().map(LinkId));
            let flow = flows.push(*bytes, path);
            flows.start_at(flow, *start);
            flows.delay_by(flow, *delay);
            if !deps.is_empty() {
                flows.last_waits_for(deps.iter().copied().map(FlowId));
            }
        }
        Ok(flows)
    }

    /// What happens during the run.
    ///
    /// # Errors
    /// When no link has a name that a change gives.
    pub fn changes(&self) -> Result<Vec<Change>, CaseError> {
        let link = |change: usize, link: &LinkName| match link {
            LinkName::Number(number) => Ok(LinkId(*number)),
            LinkName::Name(name) => {
                let place = self.platform.links.iter().position(|link| link.0 == *name);
                let number = place.ok_or_else(|| CaseError::NoLink { change, name: name.clone() })?;
                Ok(LinkId(number as u32))
            }
        };
        let change = |(number, row): (usize, &ChangeRow)| match row {
            ChangeRow::Capacity(row) => {
                let CapacityRow { at_s: at, bytes_per_s, .. } = *row;
                Ok(Change::Capacity { at, link: link(number, &row.link)?, bytes_per_s })
            }
            ChangeRow::Reroute(row) => {
                let path = row.path.iter().map(|name| link(number, name)).collect::<Result<_, CaseError>>()?;
                Ok(Change::Reroute { at: row.at_s, flow: FlowId(row.flow), path })
            }
        };
        self.changes.iter().enumerate().map(change).collect()
    }

    /// How its flows share links. What is not known counts as equal; [`Self::run`] refuses it.
    pub fn weighting(&self) -> Weighting {
        if self.weighting.starts_with('1') { Weighting::InverseLatency } else { Weighting::Equal }
    }

    /// Simulates it, with its limits and changes.
    ///
    /// # Errors
    /// When it makes no sense, or a flow can never end.
    pub fn run(&self) -> Result<Outcome, CaseError> {
        self.simulated(|simulation| simulation.run())
    }

    /// Likewise, and writes down what its links carry.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn watch(&self, watch: Watch) -> Result<(Outcome, Watched), CaseError> {
        self.simulated(|simulation| simulation.watch(watch))
    }

    fn simulated<T>(&self, run: impl FnOnce(Simulation<'_>) -> Result<T, FlowError>) -> Result<T, CaseError> {
        if !self.weighting.starts_with("equal") && !self.weighting.starts_with("1/path_latency") {
            return Err(CaseError::Weighting(self.weighting.clone()));
        }
        let (network, flows, changes) = (self.network(), self.flow_set()?, self.changes()?);
        Ok(run(Simulation::new(&network, &flows, self.weighting()).with_changes(&changes))?)
    }
}
