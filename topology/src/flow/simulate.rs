//! From event to event: a flow begins, or ends; between two of them all rates stay.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::fair_share::Shares;
use super::problem::{Flow, FlowError, Network, Weighting, check, path_latency};

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
    let mut run = Run::new(network, flows, weighting);
    while run.advance() {}
    let makespan = run.finish.iter().copied().fold(0.0, f64::max);
    Ok(Outcome { finish: run.finish, makespan })
}

/// A time as a key that can be ordered; times are never negative.
fn key(time: f64) -> u64 {
    time.to_bits()
}

struct Run<'a> {
    flows: &'a [Flow],
    /// Seconds between being due and the first byte.
    ahead: Vec<f64>,
    /// Deps that have not ended, and when the last of those that have did.
    n_deps: Vec<u32>,
    due: Vec<f64>,
    waiters: Vec<Vec<u32>>,
    /// Flows that begin later.
    begins: BinaryHeap<Reverse<(u64, u32)>>,
    shares: Shares,
    /// Flows that are under way, what each still has to carry, and how fast.
    active: Vec<u32>,
    remaining: Vec<f64>,
    rate: Vec<f64>,
    now: f64,
    finish: Vec<f64>,
}

impl<'a> Run<'a> {
    fn new(network: &Network, flows: &'a [Flow], weighting: Weighting) -> Self {
        let weight = |flow: &Flow| match weighting {
            Weighting::Equal => 1.0,
            Weighting::InverseLatency if flow.path.is_empty() => 1.0,
            Weighting::InverseLatency => 1.0 / path_latency(network, flow),
        };
        let paths = flows.iter().map(|flow| flow.path.as_slice());
        let capacity = network.iter().map(|link| link.capacity).collect();
        let weights = flows.iter().map(weight).collect();
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
            shares: Shares::new(capacity, paths, weights),
            active: Vec::new(),
            remaining: Vec::new(),
            rate: Vec::new(),
            now: 0.0,
            finish: vec![0.0; flows.len()],
        };
        for flow in 0..flows.len() as u32 {
            run.schedule_if_free(flow);
        }
        run
    }

    fn schedule_if_free(&mut self, flow: u32) {
        let i = flow as usize;
        if self.n_deps[i] == 0 {
            self.begins.push(Reverse((key(self.due[i] + self.ahead[i]), flow)));
        }
    }

    /// On to the next event. False when nothing is left.
    fn advance(&mut self) -> bool {
        let next_end = self.next_end();
        let next_begin = self.begins.peek().map(|Reverse((time, _))| f64::from_bits(*time));
        let Some(next) = [next_end, next_begin].into_iter().flatten().reduce(f64::min) else { return false };
        let passed = next - self.now;
        self.now = next;
        let ended = self.carry(passed);
        let mut changed = !ended.is_empty();
        for flow in ended {
            self.end(flow, next);
        }
        changed |= self.begin_until(next + self.at_once());
        if changed {
            self.shares.fill();
            self.rate.clear();
            self.rate.extend(self.active.iter().map(|&flow| self.shares.rate(flow)));
        }
        true
    }

    fn at_once(&self) -> f64 {
        AT_ONCE.max(STEPS_AT_ONCE * self.now)
    }

    fn next_end(&self) -> Option<f64> {
        let ends = self.remaining.iter().zip(&self.rate).map(|(left, rate)| left / rate);
        ends.reduce(f64::min).map(|least| self.now + least)
    }

    /// Moves bytes for `seconds`; takes out and returns the flows that are through.
    fn carry(&mut self, seconds: f64) -> Vec<u32> {
        let at_once = self.at_once();
        let mut ended = Vec::new();
        for (left, rate) in self.remaining.iter_mut().zip(&self.rate) {
            *left -= rate * seconds;
        }
        let mut kept = 0;
        for i in 0..self.active.len() {
            let (flow, left, rate) = (self.active[i], self.remaining[i], self.rate[i]);
            if left <= rate * at_once {
                ended.push(flow);
            } else {
                (self.active[kept], self.remaining[kept], self.rate[kept]) = (flow, left, rate);
                kept += 1;
            }
        }
        self.active.truncate(kept);
        self.remaining.truncate(kept);
        self.rate.truncate(kept);
        for &flow in &ended {
            self.shares.leave(flow);
        }
        ended
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

    /// Whether any flow now shares links that did not before.
    fn begin_until(&mut self, until: f64) -> bool {
        let mut any = false;
        while let Some(&Reverse((time, flow))) = self.begins.peek() {
            let time = f64::from_bits(time);
            if time > until {
                break;
            }
            self.begins.pop();
            let Flow { bytes, path, .. } = &self.flows[flow as usize];
            if path.is_empty() || *bytes == 0.0 {
                self.end(flow, time);
                continue;
            }
            self.shares.enter(flow);
            self.active.push(flow);
            self.remaining.push(*bytes);
            any = true;
        }
        any
    }
}
