//! Flows that a large case describes in words: all ordered pairs of endpoints, by the routing of its platform.

use serde::Deserialize;

use super::flow_set::FlowSet;
use super::problem::Network;
use super::rule::{Rule, RuleError, Sizes};
use crate::EndpointId;

/// What a case has instead of a list of flows.
#[derive(Clone, Debug, Deserialize)]
pub struct Generator {
    /// `all ordered pairs` is known.
    pub pattern: String,
    /// Of each flow.
    pub bytes: Bytes,
    /// Of each flow, in seconds.
    pub start_s: f64,
}

/// How much each flow carries.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    /// All alike.
    Number(f64),
    /// `A + splitmix64(src*N+dst) mod M`.
    Rule(String),
}

/// Why no flows can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// Neither flows nor a generator.
    #[error("the case has neither `flows` nor a `generator`")]
    Nothing,
    /// An unknown word.
    #[error("generator: {what} `{found}` is not known; known: {known}")]
    Unknown {
        /// `pattern`, `bytes`.
        what: &'static str,
        /// In the file.
        found: String,
        /// What is.
        known: &'static str,
    },
    /// Sizes that do not read.
    #[error("platform.params: {0}")]
    Sizes(String),
    /// The platform has no such paths.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

/// The flows that a generator describes.
pub(super) fn generate(
    generator: &Generator,
    (kind, sizes): (&str, &Sizes),
    network: &Network,
) -> Result<FlowSet, GenerateError> {
    if generator.pattern != "all ordered pairs" {
        let found = generator.pattern.clone();
        return Err(GenerateError::Unknown { what: "pattern", found, known: "all ordered pairs" });
    }
    let bytes = BytesRule::new(&generator.bytes)?;
    let mut rule = Rule::new(kind, sizes, network)?;
    let n = rule.n_endpoints();
    let n_pairs = n as usize * n.saturating_sub(1) as usize;
    let mut flows = FlowSet::with_room(n_pairs, n_pairs * rule.usual_hops());
    for (s, d) in (0..n).flat_map(|s| (0..n).filter(move |&d| d != s).map(move |d| (s, d))) {
        let path = flows.add_path(rule.path(EndpointId(s), EndpointId(d))?.iter().copied());
        let flow = flows.push(bytes.of(s, d), path);
        flows.start_at(flow, generator.start_s);
    }
    Ok(flows)
}

enum BytesRule {
    Same(f64),
    Mixed { least: u64, n: u64, modulus: u64 },
}

impl BytesRule {
    fn new(bytes: &Bytes) -> Result<Self, GenerateError> {
        let rule = match bytes {
            Bytes::Number(bytes) => return Ok(Self::Same(*bytes)),
            Bytes::Rule(rule) => rule,
        };
        let known = "a number, or `A + splitmix64(src*N+dst) mod M`";
        let unknown = || GenerateError::Unknown { what: "bytes", found: rule.clone(), known };
        let numbers = || {
            let (least, rest) = rule.split_once(" + splitmix64(src*")?;
            let (n, modulus) = rest.split_once("+dst) mod ")?;
            Some((least.parse().ok()?, n.parse().ok()?, modulus.parse().ok().filter(|&m: &u64| m > 0)?))
        };
        let (least, n, modulus) = numbers().ok_or_else(unknown)?;
        Ok(Self::Mixed { least, n, modulus })
    }

    fn of(&self, s: u32, d: u32) -> f64 {
        match self {
            Self::Same(bytes) => *bytes,
            Self::Mixed { least, n, modulus } => {
                let mixed = splitmix64(u64::from(s).wrapping_mul(*n).wrapping_add(u64::from(d)));
                (least + mixed % modulus) as f64
            }
        }
    }
}

/// The mixer of Steele, Lea and Flood's generator (OOPSLA 2014).
fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
