//! From event to event: a flow begins, or ends; between two of them all rates stay.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::paths::Paths;
use super::problem::{Flow, FlowError, Network, Weighting, check, path_latency};
use super::shares::Shares;

/// Events so close together are one, in seconds; late in a run, where times have no finer steps, a few steps.
const AT_ONCE: f64 = 1e-15;
const STEPS_AT_ONCE: f64 = 4.0 * f64::EPSILON;

/// What became of the flows.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// When each flow had ended, in seconds.
    pub finish: Vec<f64>,
    /// When all had.
    pub makespan: f64,
}

/// Runs all flows over the links to their ends. A flow begins at max(start, ends of deps) + delay + latency of its path,
/// and then takes its max-min fair share of every link that it crosses.
///
/// # Errors
/// When a number makes no sense, a link or flow is not there, or flows wait for each other.
pub fn simulate(network: &Network, flows: &[Flow], weighting: Weighting) -> Result<Outcome, FlowError> {
    check(network, flows, weighting)?;
    let finish = Run::new(network, flows, weighting).into_finish();
    let makespan = finish.iter().copied().fold(0.0, f64::max);
    Ok(Outcome { finish, makespan })
}

/// A time as a key that can be ordered; times are never negative.
fn key(time: f64) -> u64 {
    time.to_bits()
}

/// A run, between two events.
pub(super) struct Run<'a> {
    flows: &'a [Flow],
    /// Seconds between being due and the first byte.
    ahead: Vec<f64>,
    /// Deps that have not ended, and when the last of those that have did.
    n_deps: Vec<u32>,
    due: Vec<f64>,
    waiters: Vec<Vec<u32>>,
    /// Flows that begin later.
    begins: BinaryHeap<Reverse<(u64, u32)>>,
    pub(super) shares: Shares<'a>,
    now: f64,
    finish: Vec<f64>,
}

impl<'a> Run<'a> {
    pub(super) fn new(network: &Network, flows: &'a [Flow], weighting: Weighting) -> Self {
        let weight = |flow: &Flow| if flow.path.is_empty() { 1.0 } else { 1.0 / path_latency(network, flow) };
        let weights = match weighting {
            Weighting::Equal => Vec::new(),
            Weighting::InverseLatency => flows.iter().map(weight).collect(),
        };
        let capacities = network.iter().map(|link| link.capacity);
        let mut waiters = vec![Vec::new(); flows.len()];
        for (number, flow) in (0..).zip(flows) {
            flow.deps.iter().for_each(|dep| waiters[dep.0 as usize].push(number));
        }
        let mut run = Self {
            flows,
            ahead: flows.iter().map(|flow| flow.delay + path_latency(network, flow)).collect(),
            n_deps: flows.iter().map(|flow| flow.deps.len() as u32).collect(),
            due: flows.iter().map(|flow| flow.start).collect(),
            waiters,
            begins: BinaryHeap::new(),
            shares: Shares::new(capacities, Cow::Owned(Paths::of_flows(flows)), weights),
            now: 0.0,
            finish: vec![0.0; flows.len()],
        };
        for flow in 0..flows.len() as u32 {
            run.schedule_if_free(flow);
        }
        run
    }

    /// When each flow has ended.
    pub(super) fn into_finish(mut self) -> Vec<f64> {
        while self.advance() {}
        self.finish
    }

    fn schedule_if_free(&mut self, flow: u32) {
        let i = flow as usize;
        if self.n_deps[i] == 0 {
            self.begins.push(Reverse((key(self.due[i] + self.ahead[i]), flow)));
        }
    }

    /// On to the next event. False when nothing is left.
    fn advance(&mut self) -> bool {
        let next_end = self.shares.next_end();
        let next_begin = self.begins.peek().map_or(f64::INFINITY, |Reverse((time, _))| f64::from_bits(*time));
        let next = next_end.min(next_begin);
        if next.is_infinite() {
            return false;
        }
        self.now = next;
        let at_once = AT_ONCE.max(STEPS_AT_ONCE * next);
        let mut ended = Vec::new();
        self.shares.end_flows(next, at_once, &mut ended);
        for flow in ended {
            self.end(flow, next);
        }
        let begun = self.begin_until(next + at_once);
        self.shares.enter(next, &begun);
        self.shares.settle();
        true
    }

    fn end(&mut self, flow: u32, time: f64) {
        self.finish[flow as usize] = time;
        for waiter in std::mem::take(&mut self.waiters[flow as usize]) {
            let i = waiter as usize;
            self.n_deps[i] -= 1;
            self.due[i] = self.due[i].max(time);
            self.schedule_if_free(waiter);
        }
    }

    /// Flows that share links from now on, with their bytes.
    fn begin_until(&mut self, until: f64) -> Vec<(u32, f64)> {
        let mut begun = Vec::new();
        while let Some(&Reverse((time, flow))) = self.begins.peek() {
            let time = f64::from_bits(time);
            if time > until {
                break;
            }
            self.begins.pop();
            let Flow { bytes, path, .. } = &self.flows[flow as usize];
            if path.is_empty() || *bytes == 0.0 {
                self.end(flow, time);
            } else {
                begun.push((flow, *bytes));
            }
        }
        begun
    }
}
