//! Links, flows and what depends on what, checked.

use serde::{Deserialize, Serialize};

/// A link as its network counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkId(pub u32);

/// A flow as its list counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowId(pub u32);

/// One direction of a cable, or of a bus.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// For people.
    pub name: String,
    /// Bytes per second.
    pub capacity: f64,
    /// Seconds.
    pub latency: f64,
}

/// All links.
pub type Network = Vec<Link>;

/// Bytes on their way along a path; without a path, something that only takes time.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// To be carried.
    pub bytes: f64,
    /// It does not begin before, in seconds.
    pub start: f64,
    /// Seconds between its being due and its first byte; it holds no bandwidth meanwhile.
    pub delay: f64,
    /// Flows that must have ended before.
    pub deps: Vec<FlowId>,
    /// Links, in the order in which it crosses them.
    pub path: Vec<LinkId>,
}

/// How flows on a saturated link share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// Equally: pure max-min.
    Equal,
    /// In proportion to 1 / (latency of the path), as TCP does.
    InverseLatency,
}

/// Why flows cannot be simulated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FlowError {
    /// It crosses a link that does not exist.
    #[error("flow {flow} crosses link {link}, but there are links 0 to {last}")]
    NoSuchLink {
        /// The flow.
        flow: u32,
        /// What it names.
        link: u32,
        /// The greatest number of a link.
        last: i64,
    },
    /// It waits for a flow that does not exist.
    #[error("flow {flow} waits for flow {dep}, but there are flows 0 to {last}")]
    NoSuchFlow {
        /// The flow.
        flow: u32,
        /// What it names.
        dep: u32,
        /// The greatest number of a flow.
        last: i64,
    },
    /// Flows that wait for each other.
    #[error("flows wait for each other in a circle: {}", circle(.0))]
    Circle(
        /// Each waits for the next, and the last for the first.
        Vec<u32>,
    ),
    /// A number that makes no sense.
    #[error("{what} of {of} {number} is {value}: it must be {rule}")]
    Number {
        /// `bytes`, `start`, …
        what: &'static str,
        /// `flow` or `link`.
        of: &'static str,
        /// Which.
        number: u32,
        /// What was given.
        value: f64,
        /// What is allowed.
        rule: &'static str,
    },
    /// A flow over links without latency has no weight.
    #[error("flow {flow} has a path without latency, so it has no weight of 1 / latency")]
    NoWeight {
        /// The flow.
        flow: u32,
    },
}

fn circle(flows: &[u32]) -> String {
    let names: Vec<String> = flows.iter().chain(flows.first()).map(u32::to_string).collect();
    names.join(" -> ")
}

/// Everything that must hold before flows can be simulated.
pub(super) fn check(network: &Network, flows: &[Flow], weighting: Weighting) -> Result<(), FlowError> {
    for (number, link) in (0..).zip(network) {
        positive("capacity", "link", number, link.capacity)?;
        not_negative("latency", "link", number, link.latency)?;
    }
    for (number, flow) in (0..).zip(flows) {
        not_negative("bytes", "flow", number, flow.bytes)?;
        not_negative("start", "flow", number, flow.start)?;
        not_negative("delay", "flow", number, flow.delay)?;
        if let Some(link) = flow.path.iter().find(|link| link.0 as usize >= network.len()) {
            return Err(FlowError::NoSuchLink { flow: number, link: link.0, last: network.len() as i64 - 1 });
        }
        if let Some(dep) = flow.deps.iter().find(|dep| dep.0 as usize >= flows.len()) {
            return Err(FlowError::NoSuchFlow { flow: number, dep: dep.0, last: flows.len() as i64 - 1 });
        }
        if weighting == Weighting::InverseLatency && !flow.path.is_empty() && path_latency(network, flow) == 0.0 {
            return Err(FlowError::NoWeight { flow: number });
        }
    }
    no_circle(flows)
}

/// Seconds along the path of a flow.
pub(super) fn path_latency(network: &Network, flow: &Flow) -> f64 {
    flow.path.iter().map(|link| network[link.0 as usize].latency).sum()
}

fn positive(what: &'static str, of: &'static str, number: u32, value: f64) -> Result<(), FlowError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(FlowError::Number { what, of, number, value, rule: "finite and greater than 0" })
}

fn not_negative(what: &'static str, of: &'static str, number: u32, value: f64) -> Result<(), FlowError> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(FlowError::Number { what, of, number, value, rule: "finite and not negative" })
}

/// Takes away flows that wait for nobody, again and again; what is left waits in a circle.
fn no_circle(flows: &[Flow]) -> Result<(), FlowError> {
    let mut n_deps: Vec<usize> = flows.iter().map(|flow| flow.deps.len()).collect();
    let mut waiters: Vec<Vec<u32>> = vec![Vec::new(); flows.len()];
    for (number, flow) in (0..).zip(flows) {
        flow.deps.iter().for_each(|dep| waiters[dep.0 as usize].push(number));
    }
    let mut free: Vec<u32> = (0..flows.len() as u32).filter(|&flow| n_deps[flow as usize] == 0).collect();
    while let Some(flow) = free.pop() {
        for &waiter in &waiters[flow as usize] {
            n_deps[waiter as usize] -= 1;
            if n_deps[waiter as usize] == 0 {
                free.push(waiter);
            }
        }
    }
    let Some(first) = n_deps.iter().position(|&n| n > 0) else { return Ok(()) };
    let mut walk = vec![first as u32];
    loop {
        let last = &flows[walk[walk.len() - 1] as usize];
        let next = last.deps.iter().find(|dep| n_deps[dep.0 as usize] > 0).expect("it waits in a circle").0;
        if let Some(place) = walk.iter().position(|&flow| flow == next) {
            return Err(FlowError::Circle(walk.split_off(place)));
        }
        walk.push(next);
    }
}
