//! The simulator against its slow twin, on networks and flows drawn by seed.

use super::change::Change;
use super::flow_set::FlowSet;
use super::problem::{Flow, FlowId, Link, LinkId, Network, Weighting};
use super::reference::{self, Problem};
use super::run::Run;
use super::simulate::Simulation;

/// A small generator, so that every run draws the same.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn path(&mut self, n_links: usize, most: u64) -> Vec<LinkId> {
        let n_hops = 1 + self.below(most);
        let mut path: Vec<LinkId> = (0..n_hops).map(|_| LinkId(self.below(n_links as u64) as u32)).collect();
        path.sort_unstable();
        path.dedup();
        path
    }
}

/// How a problem is drawn.
#[derive(Clone, Copy)]
struct Kind {
    links: u64,
    flows: u64,
    hops: u64,
    /// Flows begin all at once where 1.
    starts: u64,
    /// One flow in so many waits for others; none where 0.
    deps: u64,
    /// Capacities and bytes are multiples of few numbers, so that many levels and ends are the same.
    is_round: bool,
}

const KINDS: [Kind; 6] = [
    Kind { links: 12, flows: 40, hops: 4, starts: 1, deps: 0, is_round: false },
    Kind { links: 12, flows: 40, hops: 4, starts: 20, deps: 0, is_round: true },
    Kind { links: 40, flows: 120, hops: 5, starts: 50, deps: 4, is_round: false },
    Kind { links: 6, flows: 120, hops: 3, starts: 8, deps: 3, is_round: true },
    Kind { links: 150, flows: 150, hops: 6, starts: 300, deps: 0, is_round: false },
    Kind { links: 30, flows: 200, hops: 2, starts: 1, deps: 0, is_round: false },
];

struct Drawn {
    network: Network,
    flows: Vec<Flow>,
    limits: Vec<f64>,
    changes: Vec<Change>,
}

fn draw(kind: Kind, seed: u64) -> Drawn {
    let mut chance = Chance(seed);
    let number = |least: u64, n: u64, chance: &mut Chance| {
        if kind.is_round {
            (least + chance.below(3)) as f64
        } else {
            least as f64 + chance.below(n * 1000) as f64 / 1e3
        }
    };
    let link = |i| Link { name: format!("l{i}"), capacity: 0.0, latency: 0.0 };
    let mut network: Network = (0..1 + chance.below(kind.links)).map(link).collect();
    for link in &mut network {
        link.capacity = number(1, 50, &mut chance);
        link.latency = number(1, 5, &mut chance) / 100.0;
    }
    let mut flows: Vec<Flow> = Vec::new();
    for i in 0..1 + chance.below(kind.flows) {
        let path = chance.path(network.len(), kind.hops);
        let waits = kind.deps > 0 && i > 0 && chance.one_in(kind.deps);
        let n_deps = if waits { 1 + chance.below(3) } else { 0 };
        let deps = (0..n_deps).map(|_| FlowId(chance.below(i) as u32)).collect();
        let bytes = if chance.one_in(20) { 0.0 } else { number(1, 30, &mut chance) };
        let path = if chance.one_in(20) { Vec::new() } else { path };
        let delay = if chance.one_in(3) { number(0, 1, &mut chance) } else { 0.0 };
        flows.push(Flow { bytes, start: chance.below(kind.starts) as f64 / 10.0, delay, deps, path });
    }
    let limit = |_| if chance.one_in(3) { number(1, 5, &mut chance) } else { f64::INFINITY };
    let limits = (0..flows.len()).map(limit).collect();
    let changes = draw_changes(&mut chance, kind, &network, &flows);
    Drawn { network, flows, limits, changes }
}

/// Links that fail, are slow, and are repaired; flows that go another way.
fn draw_changes(chance: &mut Chance, kind: Kind, network: &Network, flows: &[Flow]) -> Vec<Change> {
    let mut changes = Vec::new();
    for _ in 0..chance.below(8) {
        // Never at the time of another event, by its odd digits.
        let at = chance.below(100_000) as f64 / 1e4 + 0.000_031_7;
        let link = LinkId(chance.below(network.len() as u64) as u32);
        let bytes_per_s = [0.0, 0.5, 3.0][chance.below(3) as usize];
        changes.push(Change::Capacity { at, link, bytes_per_s });
        let repaired = at + chance.below(1000) as f64 / 1e3 + 0.000_011_3;
        changes.push(Change::Capacity { at: repaired, link, bytes_per_s: network[link.0 as usize].capacity });
        let flow = chance.below(flows.len() as u64) as u32;
        if !flows[flow as usize].path.is_empty() {
            let at = chance.below(100_000) as f64 / 1e4 + 0.000_053_9;
            changes.push(Change::Reroute { at, flow: FlowId(flow), path: chance.path(network.len(), kind.hops) });
        }
    }
    changes
}

fn assert_same(found: &[f64], expected: &[f64], what: &str) {
    for (flow, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-11 * b, "{what}: flow {flow} ends at {a}, not {b}");
    }
}

/// Both weightings of many problems of every kind.
fn all_drawn(mut check: impl FnMut(Drawn, Weighting, &str)) {
    for (k, kind) in KINDS.into_iter().enumerate() {
        for seed in 0..15 {
            for weighting in [Weighting::Equal, Weighting::InverseLatency] {
                check(draw(kind, seed), weighting, &format!("kind {k} seed {seed} {weighting:?}"));
            }
        }
    }
}

fn set_of(drawn: &Drawn) -> FlowSet {
    let mut set: FlowSet = drawn.flows.iter().collect();
    drawn.limits.iter().enumerate().for_each(|(flow, &limit)| set.limit_to(FlowId(flow as u32), limit));
    set
}

fn assert_like_the_twin(drawn: &Drawn, weighting: Weighting, what: &str) {
    let (set, Drawn { network, flows, limits, changes }) = (set_of(drawn), drawn);
    let found = Simulation::new(network, &set, weighting).with_changes(changes).run();
    let expected = reference::finish(&Problem { network, flows, limits, weighting, changes });
    assert_same(&found.expect("it ends").finish, &expected, what);
}

#[test]
fn every_flow_ends_when_the_slow_twin_says() {
    all_drawn(|mut drawn, weighting, what| {
        drawn.changes.clear();
        drawn.limits.fill(f64::INFINITY);
        assert_like_the_twin(&drawn, weighting, what);
    });
}

#[test]
fn every_flow_that_has_a_limit_of_its_own_ends_when_the_slow_twin_says() {
    all_drawn(|mut drawn, weighting, what| {
        drawn.changes.clear();
        assert_like_the_twin(&drawn, weighting, what);
    });
}

#[test]
fn every_flow_ends_when_the_slow_twin_says_whatever_happens_to_links_and_paths() {
    all_drawn(|mut drawn, weighting, what| {
        drawn.limits.fill(f64::INFINITY);
        assert_like_the_twin(&drawn, weighting, what);
    });
    all_drawn(|drawn, weighting, what| assert_like_the_twin(&drawn, weighting, what));
}

#[test]
fn shares_made_from_nothing_are_those_that_follow_the_flows() {
    all_drawn(|drawn, weighting, what| {
        let set = set_of(&drawn);
        let found = |patience| {
            let mut run = Run::new(&drawn.network, &set, weighting, &drawn.changes);
            run.shares.patience = patience;
            run.into_outcome().expect("it ends").0.finish
        };
        // The second never has the patience to follow, the third never loses it.
        let expected = found(super::shares::PATIENCE);
        assert_same(&found(0), &expected, what);
        assert_same(&found(usize::MAX / (1 << 32)), &expected, what);
    });
}
