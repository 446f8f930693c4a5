//! The simulator against its slow twin, on networks and flows drawn by seed.

use super::problem::{Flow, FlowId, Link, LinkId, Network, Weighting};
use super::reference;
use super::run::Run;
use super::simulate::simulate;

/// A small generator, so that every run draws the same.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
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

pub(super) struct Drawn {
    pub(super) network: Network,
    pub(super) flows: Vec<Flow>,
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
        let any = |chance: &mut Chance| LinkId(chance.below(network.len() as u64) as u32);
        let mut path: Vec<LinkId> = (0..=chance.below(kind.hops)).map(|_| any(&mut chance)).collect();
        path.sort_unstable();
        path.dedup();
        let waits = kind.deps > 0 && i > 0 && chance.one_in(kind.deps);
        let n_deps = if waits { 1 + chance.below(3) } else { 0 };
        let deps = (0..n_deps).map(|_| FlowId(chance.below(i) as u32)).collect();
        let bytes = if chance.one_in(20) { 0.0 } else { number(1, 30, &mut chance) };
        let path = if chance.one_in(20) { Vec::new() } else { path };
        let delay = if chance.one_in(3) { number(0, 1, &mut chance) } else { 0.0 };
        flows.push(Flow { bytes, start: chance.below(kind.starts) as f64 / 10.0, delay, deps, path });
    }
    Drawn { network, flows }
}

fn assert_same(found: &[f64], expected: &[f64], what: &str) {
    for (flow, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-11 * b, "{what}: flow {flow} ends at {a}, not {b}");
    }
}

/// Both weightings of many problems of every kind.
fn all_drawn(mut check: impl FnMut(&Drawn, Weighting, &str)) {
    for (k, kind) in KINDS.into_iter().enumerate() {
        for seed in 0..60 {
            let drawn = draw(kind, seed);
            for weighting in [Weighting::Equal, Weighting::InverseLatency] {
                check(&drawn, weighting, &format!("kind {k} seed {seed} {weighting:?}"));
            }
        }
    }
}

#[test]
fn every_flow_ends_when_the_slow_twin_says() {
    all_drawn(|Drawn { network, flows }, weighting, what| {
        let found = simulate(network, flows, weighting).expect("it can be simulated").finish;
        assert_same(&found, &reference::finish(network, flows, weighting), what);
    });
}

#[test]
fn shares_made_from_nothing_are_those_that_follow_the_flows() {
    all_drawn(|Drawn { network, flows }, weighting, what| {
        let found = |patience| {
            let flows = flows.iter().collect();
            let mut run = Run::new(network, &flows, weighting, &[]);
            run.shares.patience = patience;
            run.into_outcome().expect("it ends").0.finish
        };
        // The second never has the patience to follow, the third never loses it.
        let expected = found(super::shares::PATIENCE);
        assert_same(&found(0), &expected, what);
        assert_same(&found(usize::MAX / (1 << 32)), &expected, what);
    });
}
