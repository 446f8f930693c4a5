//! Many flows in flat arrays: what a [`Flow`] says, in a fraction of its memory.

use super::paths::{PathId, Paths};
use super::problem::{Flow, FlowId, LinkId, Network};

/// Flows in the order in which they were added. What all flows have in common takes no memory.
#[derive(Clone, Debug)]
pub struct FlowSet {
    bytes: Vec<f64>,
    start: Column,
    delay: Column,
    limit: Column,
    deps: Vec<FlowId>,
    /// Where the deps of each flow end; shorter than the set where the last flows have none.
    dep_ends: Vec<u32>,
    pub(super) paths: Paths,
}

/// A number by flow; flows beyond its end have the usual one.
#[derive(Clone, Debug)]
struct Column {
    usual: f64,
    values: Vec<f64>,
}

impl Column {
    fn new(usual: f64) -> Self {
        Self { usual, values: Vec::new() }
    }

    fn of(&self, flow: u32) -> f64 {
        self.values.get(flow as usize).copied().unwrap_or(self.usual)
    }

    fn set(&mut self, flow: usize, value: f64) {
        if value.to_bits() == self.usual.to_bits() && flow >= self.values.len() {
            return;
        }
        if flow >= self.values.len() {
            self.values.resize(flow + 1, self.usual);
        }
        self.values[flow] = value;
    }
}

impl Default for FlowSet {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            start: Column::new(0.0),
            delay: Column::new(0.0),
            limit: Column::new(f64::INFINITY),
            deps: Vec::new(),
            dep_ends: Vec::new(),
            paths: Paths::default(),
        }
    }
}

impl FlowSet {
    /// An empty set with room for so many flows, which cross so many links in all.
    pub fn with_room(n_flows: usize, n_hops: usize) -> Self {
        let mut set = Self::default();
        set.bytes.reserve_exact(n_flows);
        set.paths.reserve(n_flows, n_hops);
        set
    }

    /// How many flows it has.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A path for one flow or many: links in the order in which they are crossed; none for what only takes time.
    pub fn add_path(&mut self, links: impl IntoIterator<Item = LinkId>) -> PathId {
        self.paths.add(links.into_iter().map(|link| link.0))
    }

    /// The next flow: bytes over a path, from the beginning on.
    pub fn push(&mut self, bytes: f64, path: PathId) -> FlowId {
        let flow = FlowId(self.bytes.len() as u32);
        self.bytes.push(bytes);
        self.paths.push_flow(path);
        flow
    }

    /// The flow does not begin before, in seconds.
    pub fn start_at(&mut self, FlowId(flow): FlowId, seconds: f64) {
        self.start.set(flow as usize, seconds);
    }

    /// So many seconds pass between its being due and its first byte; it holds no bandwidth meanwhile.
    pub fn delay_by(&mut self, FlowId(flow): FlowId, seconds: f64) {
        self.delay.set(flow as usize, seconds);
    }

    /// The flow never takes more than so many bytes per second, whatever its links could give: what its endpoint can do.
    pub fn limit_to(&mut self, FlowId(flow): FlowId, bytes_per_s: f64) {
        self.limit.set(flow as usize, bytes_per_s);
    }

    /// The flow that was pushed last waits for these.
    ///
    /// # Panics
    /// Without any flow.
    pub fn last_waits_for(&mut self, deps: impl IntoIterator<Item = FlowId>) {
        assert!(!self.is_empty(), "a flow must be pushed before it can wait");
        let so_far = self.deps.len() as u32;
        self.dep_ends.resize(self.len() - 1, so_far);
        self.deps.extend(deps);
        self.dep_ends.push(self.deps.len() as u32);
    }

    /// Bytes that a flow carries.
    pub fn bytes(&self, flow: FlowId) -> f64 {
        self.bytes[flow.0 as usize]
    }

    /// Links that a flow crosses.
    pub fn path(&self, flow: FlowId) -> impl ExactSizeIterator<Item = LinkId> + '_ {
        self.paths.of(flow.0).iter().copied().map(LinkId)
    }

    /// Flows for which a flow waits.
    pub fn deps(&self, flow: FlowId) -> &[FlowId] {
        let end_of = |flow: usize| self.dep_ends.get(flow).map_or(self.deps.len(), |&end| end as usize);
        let flow = flow.0 as usize;
        let begin = if flow == 0 { 0 } else { end_of(flow - 1) };
        &self.deps[begin..end_of(flow)]
    }

    pub(super) fn start(&self, flow: u32) -> f64 {
        self.start.of(flow)
    }

    pub(super) fn delay(&self, flow: u32) -> f64 {
        self.delay.of(flow)
    }

    /// Bytes per second; infinite without a limit.
    pub(super) fn limit(&self, flow: u32) -> f64 {
        self.limit.of(flow)
    }

    pub(super) fn has_limits(&self) -> bool {
        !self.limit.values.is_empty()
    }

    pub(super) fn has_deps(&self) -> bool {
        !self.deps.is_empty()
    }

    pub(super) fn numbers(&self) -> std::ops::Range<u32> {
        0..self.len() as u32
    }

    /// Seconds along the path of a flow.
    pub(super) fn latency(&self, network: &Network, flow: u32) -> f64 {
        self.paths.of(flow).iter().map(|&link| network[link as usize].latency).sum()
    }
}

impl<'a> FromIterator<&'a Flow> for FlowSet {
    fn from_iter<I: IntoIterator<Item = &'a Flow>>(flows: I) -> Self {
        let mut set = Self::default();
        for flow in flows {
            let path = set.add_path(flow.path.iter().copied());
            let id = set.push(flow.bytes, path);
            set.start_at(id, flow.start);
            set.delay_by(id, flow.delay);
            if !flow.deps.is_empty() {
                set.last_waits_for(flow.deps.iter().copied());
            }
        }
        set
    }
}
