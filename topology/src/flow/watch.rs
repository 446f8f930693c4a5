//! What links carry during a run, written down on request.

use std::collections::BTreeMap;

use super::flow_set::FlowSet;
use super::problem::{FlowId, LinkId, Network};
use super::shares::Shares;

/// What to write down, and how much of it at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// How many moments the timeline may have; it drops every second one whenever it has become longer. 0: no timeline.
    pub moments: usize,
}

impl Default for Watch {
    /// Enough for a picture as wide as a screen.
    fn default() -> Self {
        Self { moments: 512 }
    }
}

/// What links have carried.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// Bytes over each link.
    pub carried: Vec<f64>,
    /// Seconds during which any flow was under way on each link, standing still or not.
    pub busy: Vec<f64>,
    /// The greatest load of each link as a share of its capacity at that time.
    pub peak: Vec<f64>,
    /// What held each flow back when it ended.
    pub held_by: Vec<HeldBy>,
    /// Loads of all links at some moments, in order.
    pub timeline: Vec<Moment>,
}

/// What kept a flow from being faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// It had no bytes, or no links to cross.
    Nothing,
    /// This link was full, and nobody on it got more for their weight.
    Link(LinkId),
    /// Its own limit.
    OwnLimit,
}

/// Loads at one moment; they stay until the next event.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Seconds.
    pub at: f64,
    /// Bytes per second over each link.
    pub load: Vec<f32>,
}

/// What is written down so far.
pub(super) struct Watching {
    moments: usize,
    peak: Vec<f64>,
    load: Vec<f32>,
    timeline: Vec<Moment>,
    /// One event in so many is in the timeline.
    stride: usize,
    n_events: usize,
    /// Bytes over links that a flow has left since, and how much each such flow had carried in all.
    before: Vec<(u32, Vec<u32>, f64)>,
    carried: BTreeMap<u32, f64>,
}

impl Watching {
    pub(super) fn new(watch: Watch, network: &Network) -> Self {
        Self {
            moments: watch.moments,
            peak: vec![0.0; network.len()],
            load: vec![0.0; network.len()],
            timeline: Vec::new(),
            stride: 1,
            n_events: 0,
            before: Vec::new(),
            carried: BTreeMap::new(),
        }
    }

    /// All shares are right again.
    pub(super) fn event(&mut self, now: f64, shares: &mut Shares<'_>) {
        shares.take_changed(|link, load, capacity| {
            // Own limits of flows are no links that anybody knows.
            let Some(peak) = self.peak.get_mut(link as usize) else { return };
            self.load[link as usize] = load as f32;
            if capacity > 0.0 {
                *peak = peak.max(load / capacity);
            }
        });
        if self.moments > 0 && self.n_events.is_multiple_of(self.stride) {
            self.timeline.push(Moment { at: now, load: self.load.clone() });
        }
        self.n_events += 1;
        if self.timeline.len() > self.moments.max(1) {
            let mut n = 0;
            self.timeline.retain(|_| {
                n += 1;
                n % 2 == 1
            });
            self.stride *= 2;
        }
    }

    /// A flow leaves these links, over which it has carried so much in all.
    pub(super) fn rerouted(&mut self, flow: u32, links: &[u32], carried: f64) {
        let before = self.carried.insert(flow, carried).unwrap_or(0.0);
        if carried > before {
            self.before.push((flow, links.to_vec(), carried - before));
        }
    }

    pub(super) fn finish(self, network: &Network, flows: &FlowSet, shares: &Shares<'_>) -> Watched {
        let mut carried = vec![0.0; network.len()];
        let mut carry = |links: &[u32], bytes: f64| {
            links.iter().filter(|&&link| (link as usize) < network.len()).for_each(|&l| carried[l as usize] += bytes);
        };
        for flow in flows.numbers() {
            carry(shares.path(flow), flows.bytes(FlowId(flow)));
        }
        for (flow, links, bytes) in &self.before {
            carry(links, *bytes);
            carry(shares.path(*flow), -bytes);
        }
        let held_by = |flow| match shares.limiter(flow) {
            super::shares::NONE => HeldBy::Nothing,
            link if link as usize >= network.len() => HeldBy::OwnLimit,
            link => HeldBy::Link(LinkId(link)),
        };
        Watched {
            carried,
            busy: (0..network.len() as u32).map(|link| shares.busy(link)).collect(),
            peak: self.peak,
            held_by: flows.numbers().map(held_by).collect(),
            timeline: self.timeline,
        }
    }
}
