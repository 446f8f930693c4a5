//! Everything that must hold before flows can be simulated.

use super::change::Change;
use super::error::FlowError;
use super::flow_set::FlowSet;
use super::problem::{FlowId, LinkId, Network, Weighting};

/// Refuses what cannot be simulated.
pub(super) fn check(
    network: &Network,
    flows: &FlowSet,
    weighting: Weighting,
    changes: &[Change],
) -> Result<(), FlowError> {
    for (number, link) in (0..).zip(network) {
        positive("capacity", "link", number, link.capacity)?;
        not_negative("latency", "link", number, link.latency)?;
    }
    // Whether any is wrong is known fast, and only then which.
    let all_links_are_there = flows.paths.last_link().is_none_or(|link| (link as usize) < network.len());
    for flow in flows.numbers() {
        not_negative("bytes", "flow", flow, flows.bytes(FlowId(flow)))?;
        not_negative("start", "flow", flow, flows.start(flow))?;
        not_negative("delay", "flow", flow, flows.delay(flow))?;
        if flows.limit(flow).is_nan() || flows.limit(flow) <= 0.0 {
            let (what, of, number, value) = ("limit", "flow", flow, flows.limit(flow));
            return Err(FlowError::Number { what, of, number, value, rule: "greater than 0" });
        }
        let wrong = |link: &LinkId| link.0 as usize >= network.len();
        if let Some(link) = flows.path(FlowId(flow)).find(wrong).filter(|_| !all_links_are_there) {
            return Err(FlowError::NoSuchLink { flow, link: link.0, last: network.len() as i64 - 1 });
        }
        if let Some(dep) = flows.deps(FlowId(flow)).iter().find(|dep| dep.0 as usize >= flows.len()) {
            return Err(FlowError::NoSuchFlow { flow, dep: dep.0, last: flows.len() as i64 - 1 });
        }
        let has_path = flows.path(FlowId(flow)).len() > 0;
        if weighting == Weighting::InverseLatency && has_path && flows.latency(network, flow) == 0.0 {
            return Err(FlowError::NoWeight { flow });
        }
    }
    changes.iter().enumerate().try_for_each(|(number, change)| possible(network, flows, weighting, number, change))?;
    if flows.has_deps() { no_circle(flows) } else { Ok(()) }
}

fn possible(
    network: &Network,
    flows: &FlowSet,
    weighting: Weighting,
    number: usize,
    change: &Change,
) -> Result<(), FlowError> {
    not_negative("time", "change", number as u32, change.at())?;
    let there = |what, part: u32, n: usize| {
        if (part as usize) < n {
            return Ok(());
        }
        Err(FlowError::NoSuchPart { change: number, what, number: part, last: n as i64 - 1 })
    };
    match change {
        Change::Capacity { link, bytes_per_s, .. } => {
            there("link", link.0, network.len())?;
            not_negative("bytes per second", "change", number as u32, *bytes_per_s)
        }
        Change::Reroute { flow, path, .. } => {
            there("flow", flow.0, flows.len())?;
            path.iter().try_for_each(|link| there("link", link.0, network.len()))?;
            let no_path = |has| Err(FlowError::NoPath { change: number, flow: flow.0, has });
            if path.is_empty() {
                return no_path("needs at least one link to go over");
            }
            if flows.path(*flow).len() == 0 {
                return no_path("crosses no link, so it has no path to change");
            }
            if weighting == Weighting::InverseLatency && path.iter().all(|link| network[link.0 as usize].latency == 0.0)
            {
                return Err(FlowError::NoWeight { flow: flow.0 });
            }
            Ok(())
        }
    }
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
fn no_circle(flows: &FlowSet) -> Result<(), FlowError> {
    let waiters = Waiters::new(flows);
    let mut n_deps: Vec<usize> = flows.numbers().map(|flow| flows.deps(FlowId(flow)).len()).collect();
    let mut free: Vec<u32> = flows.numbers().filter(|&flow| n_deps[flow as usize] == 0).collect();
    while let Some(flow) = free.pop() {
        for &waiter in waiters.of(flow) {
            n_deps[waiter as usize] -= 1;
            if n_deps[waiter as usize] == 0 {
                free.push(waiter);
            }
        }
    }
    let Some(first) = n_deps.iter().position(|&n| n > 0) else { return Ok(()) };
    let mut walk = vec![first as u32];
    loop {
        let deps = flows.deps(FlowId(walk[walk.len() - 1]));
        let next = deps.iter().find(|dep| n_deps[dep.0 as usize] > 0).expect("it waits in a circle").0;
        if let Some(place) = walk.iter().position(|&flow| flow == next) {
            return Err(FlowError::Circle(walk.split_off(place)));
        }
        walk.push(next);
    }
}

/// Flows that wait for each flow, one after the other.
#[derive(Default)]
pub(super) struct Waiters {
    starts: Vec<u32>,
    waiters: Vec<u32>,
}

impl Waiters {
    pub(super) fn new(flows: &FlowSet) -> Self {
        if !flows.has_deps() {
            return Self::default();
        }
        let mut starts = vec![0; flows.len() + 1];
        let pairs = || flows.numbers().flat_map(|flow| flows.deps(FlowId(flow)).iter().map(move |dep| (dep.0, flow)));
        pairs().for_each(|(dep, _)| starts[dep as usize + 1] += 1);
        for flow in 0..flows.len() {
            starts[flow + 1] += starts[flow];
        }
        let mut next = starts.clone();
        let mut waiters = vec![0; starts[flows.len()] as usize];
        for (dep, flow) in pairs() {
            waiters[next[dep as usize] as usize] = flow;
            next[dep as usize] += 1;
        }
        Self { starts, waiters }
    }

    pub(super) fn of(&self, flow: u32) -> &[u32] {
        let flow = flow as usize;
        if self.starts.is_empty() {
            &[]
        } else {
            &self.waiters[self.starts[flow] as usize..self.starts[flow + 1] as usize]
        }
    }
}
