//! Why flows cannot be simulated, each with its numbers.

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
    /// A change of something that does not exist.
    #[error("change {change} names {what} {number}, but there are {what}s 0 to {last}")]
    NoSuchPart {
        /// The change, as its list counts.
        change: usize,
        /// `link` or `flow`.
        what: &'static str,
        /// What it names.
        number: u32,
        /// The greatest number of one.
        last: i64,
    },
    /// Another path for a flow that takes none, or no path for one that does.
    #[error("change {change}: flow {flow} {has}")]
    NoPath {
        /// The change, as its list counts.
        change: usize,
        /// The flow.
        flow: u32,
        /// What is wrong with it.
        has: &'static str,
    },
    /// Flows that stand still at the end of all events.
    #[error(
        "flow {flow} never ends: link {link} gives it nothing from {since} s on, and no change comes after that; {n_stuck} \
         of {n_flows} flows do not end"
    )]
    Stuck {
        /// The first of them.
        flow: u32,
        /// The link that stops it.
        link: u32,
        /// Seconds.
        since: f64,
        /// Flows that stand still, or wait for those.
        n_stuck: usize,
        /// All flows.
        n_flows: usize,
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
