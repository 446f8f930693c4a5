//! A simulation as a JSON file: links, flows, and what another simulator found.

use serde::Deserialize;

use super::generate::{GenerateError, Generator, Sizes, generate};
use super::problem::{Flow, FlowId, Link, LinkId, Network, Weighting};

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
    params: Sizes,
}

/// What another simulator found.
#[derive(Clone, Debug, Deserialize)]
pub struct Expected {
    /// When all flows had ended.
    pub makespan_s: f64,
    /// The mean of when each had.
    pub mean_finish_s: f64,
    /// When each had; absent for large cases.
    #[serde(default)]
    pub finish_s: Vec<f64>,
}

type FlowRow = (i64, i64, f64, f64, f64, Vec<u32>, Vec<u32>);

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
        let Some(rows) = &self.flows else {
            let generator = self.generator.as_ref().ok_or(GenerateError::Nothing)?;
            return generate(generator, &self.platform.kind, &self.platform.params);
        };
        let flow = |(_, _, bytes, start, delay, deps, path): &FlowRow| Flow {
            bytes: *bytes,
            start: *start,
            delay: *delay,
            deps: deps.iter().copied().map(FlowId).collect(),
            path: path.iter().copied().map(LinkId).collect(),
        };
        Ok(rows.iter().map(flow).collect())
    }

    /// How its flows share links.
    pub fn weighting(&self) -> Weighting {
        if self.weighting.starts_with('1') { Weighting::InverseLatency } else { Weighting::Equal }
    }
}
