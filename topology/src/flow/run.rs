//! From event to event: a flow begins or ends, a link or a path changes; between two of them all rates stay.

use std::collections::BTreeMap;

use super::begins::Begins;
use super::change::Change;
use super::check::Waiters;
use super::error::FlowError;
use super::flow_set::FlowSet;
use super::paths::PathId;
use super::problem::{FlowId, LinkId, Network, Weighting};
use super::setting::{Setting, weight_over};
use super::shares::{NONE, Shares};
use super::simulate::Outcome;
use super::watch::{Watch, Watched, Watching};

/// Events so close together are one, in seconds; late in a run, where times have no finer steps, a few steps.
const AT_ONCE: f64 = 1e-15;
const STEPS_AT_ONCE: f64 = 4.0 * f64::EPSILON;

/// A run, between two events.
pub(super) struct Run<'a> {
    network: &'a Network,
    flows: &'a FlowSet,
    weighting: Weighting,
    /// Deps that have not ended, and when the last of those that have did; empty where no flow has any.
    n_deps: Vec<u32>,
    due: Vec<f64>,
    waiters: Waiters,
    begins: Begins,
    /// What is to come, the next last, with the new path where there is one.
    changes: Vec<(&'a Change, Option<PathId>)>,
    happens: &'a [Change],
    pub(super) shares: Shares<'a>,
    /// Flows that were put on another path before they began, and when they begin now.
    put_off: BTreeMap<u32, f64>,
    finish: Vec<f64>,
    n_open: usize,
    watching: Option<Watching>,
}

impl<'a> Run<'a> {
    pub(super) fn new(network: &'a Network, flows: &'a FlowSet, weighting: Weighting, changes: &'a [Change]) -> Self {
        let happens = changes;
        let Setting { shares, changes } = Setting::new(network, flows, weighting, happens);
        let n_deps = |flow| flows.deps(FlowId(flow)).len() as u32;
        let mut run = Self {
            network,
            flows,
            weighting,
            n_deps: if flows.has_deps() { flows.numbers().map(n_deps).collect() } else { Vec::new() },
            due: if flows.has_deps() { flows.numbers().map(|flow| flows.start(flow)).collect() } else { Vec::new() },
            waiters: Waiters::new(flows),
            begins: Begins::default(),
            changes,
            happens,
            shares,
            put_off: BTreeMap::new(),
            finish: vec![f64::INFINITY; flows.len()],
            n_open: flows.len(),
            watching: None,
        };
        let first = flows.numbers().filter(|&flow| run.is_free(flow)).map(|flow| (run.begin_of(flow), flow));
        run.begins = Begins::new(first.collect());
        run
    }

    pub(super) fn watch(&mut self, watch: Watch) {
        self.shares.watch();
        self.watching = Some(Watching::new(watch, self.network));
    }

    /// On to the end.
    pub(super) fn into_outcome(mut self) -> Result<(Outcome, Option<Watched>), FlowError> {
        while self.n_open > 0 {
            if !self.advance() {
                return Err(self.stuck());
            }
        }
        let makespan = self.finish.iter().copied().fold(0.0, f64::max);
        let watched = self.watching.map(|watching| watching.finish(self.network, self.flows, &self.shares));
        Ok((Outcome { finish: self.finish, makespan }, watched))
    }

    fn is_free(&self, flow: u32) -> bool {
        self.n_deps.get(flow as usize).is_none_or(|&n| n == 0)
    }

    /// When the first byte leaves a flow that waits for nobody any more.
    fn leaves(&self, flow: u32) -> f64 {
        let due = self.due.get(flow as usize).copied();
        due.unwrap_or_else(|| self.flows.start(flow)) + self.flows.delay(flow)
    }

    fn begin_of(&self, flow: u32) -> f64 {
        self.leaves(flow) + self.latency(flow)
    }

    /// Seconds along the path that a flow takes now.
    fn latency(&self, flow: u32) -> f64 {
        let links = self.shares.path(flow).iter().filter_map(|&link| self.network.get(link as usize));
        links.map(|link| link.latency).sum()
    }

    /// On to the next event. False when nothing comes any more.
    fn advance(&mut self) -> bool {
        let next_change = self.changes.last().map_or(f64::INFINITY, |(change, _)| change.at());
        let next = self.shares.next_end().min(self.begins.next()).min(next_change);
        if next.is_infinite() {
            return false;
        }
        let until = next + AT_ONCE.max(STEPS_AT_ONCE * next);
        let mut ended = Vec::new();
        self.shares.end_flows(next, until - next, &mut ended);
        for flow in ended {
            self.end(flow, next);
        }
        let mut entering = self.change_until(until);
        self.begin_until(until, &mut entering);
        self.shares.enter(&entering);
        self.shares.settle();
        if let Some(watching) = &mut self.watching {
            watching.event(next, &mut self.shares);
        }
        true
    }

    fn end(&mut self, flow: u32, time: f64) {
        self.finish[flow as usize] = time;
        self.n_open -= 1;
        for &waiter in self.waiters.of(flow) {
            let i = waiter as usize;
            self.n_deps[i] -= 1;
            self.due[i] = self.due[i].max(time);
            if self.n_deps[i] == 0 {
                self.begins.add(self.begin_of(waiter), waiter);
            }
        }
    }

    /// Adds flows that share links from now on, with their bytes.
    fn begin_until(&mut self, until: f64, begun: &mut Vec<(u32, f64)>) {
        while let Some((time, flow)) = self.begins.pop_until(until) {
            if let Some(later) = self.put_off.get_mut(&flow) {
                if *later != time {
                    continue;
                }
                // Only once, should it have been due at the same time before.
                *later = f64::NAN;
            }
            let bytes = self.flows.bytes(FlowId(flow));
            if bytes == 0.0 || self.flows.path(FlowId(flow)).len() == 0 {
                self.end(flow, time);
            } else {
                begun.push((flow, bytes));
            }
        }
    }

    /// Carries out what happens until then. Returns flows that go on over another path, with what they have left.
    fn change_until(&mut self, until: f64) -> Vec<(u32, f64)> {
        let mut others = BTreeMap::new();
        while let Some(&(change, path)) = self.changes.last().filter(|(change, _)| change.at() <= until) {
            self.changes.pop();
            match (change, path) {
                (Change::Capacity { link, bytes_per_s, .. }, _) => self.shares.set_capacity(link.0, *bytes_per_s),
                (Change::Reroute { flow, at, path: links }, Some(path)) => {
                    self.reroute(flow.0, *at, (path, links), &mut others);
                }
                (Change::Reroute { .. }, None) => {}
            }
        }
        others.into_iter().collect()
    }

    fn reroute(&mut self, flow: u32, at: f64, (path, links): (PathId, &[LinkId]), others: &mut BTreeMap<u32, f64>) {
        if self.finish[flow as usize].is_finite() {
            return;
        }
        if let Some(left) = self.shares.remove(flow) {
            others.insert(flow, left);
        }
        // Of a flow that changes twice at once it is already known, and it is on neither path yet.
        let left = others.get(&flow).copied();
        if let Some(watching) = &mut self.watching {
            let bytes = self.flows.bytes(FlowId(flow));
            watching.rerouted(flow, self.shares.path(flow), bytes - left.unwrap_or(bytes));
        }
        let has_not_left = left.is_none() && self.is_free(flow) && self.leaves(flow) >= at;
        self.shares.change_path(flow, path, weight_over(self.network, links, self.weighting));
        if has_not_left {
            let time = self.begin_of(flow);
            self.put_off.insert(flow, time);
            self.begins.add(time, flow);
        }
    }

    /// Which flow stands still, and why.
    fn stuck(&self) -> FlowError {
        let stands_still = |&flow: &u32| self.finish[flow as usize].is_infinite() && self.shares.limiter(flow) != NONE;
        let flow = self.flows.numbers().find(stands_still).expect("flows that do not wait in a circle begin");
        let link = self.shares.limiter(flow);
        let times = self.happens.iter().filter(|change| change.changes(link)).map(Change::at);
        let since = times.fold(0.0, f64::max);
        FlowError::Stuck { flow, link, since, n_stuck: self.n_open, n_flows: self.flows.len() }
    }
}
