use super::*;
use crate::flow::{Case, LinkId, Network, Outcome, Weighting, simulate};
use crate::traffic::star::Star;
use crate::traffic::{Frontier, Traffic};
use crate::{EndpointId, NoRoute, Routes};

const BYTES: f64 = 64e6;

fn nodes(n: u32, per_node: u32) -> Vec<Vec<EndpointId>> {
    (0..n).map(|node| (0..per_node).map(|index| EndpointId(node * per_node + index)).collect()).collect()
}

fn made(make: impl FnOnce(&mut Traffic)) -> Traffic {
    let mut traffic = Traffic::new();
    make(&mut traffic);
    traffic
}

fn assert_close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-12 * b.abs(), "{a} is not {b}");
}

#[test]
fn every_rank_of_an_all_reduce_sends_and_gets_as_much_as_the_algorithm_says() {
    for n in [2_u32, 4, 8, 16] {
        let ranks: Vec<EndpointId> = (0..n).map(EndpointId).collect();
        let start = || Frontier::start(ranks.len());
        let share = 2.0 * f64::from(n - 1) / f64::from(n) * BYTES;
        let ring = made(|t| drop(ring_all_reduce(t, &ranks, BYTES, start())));
        let halving = made(|t| drop(halving_all_reduce(t, &ranks, BYTES, start())));
        for &rank in &ranks {
            for traffic in [&ring, &halving] {
                assert_close(traffic.bytes_from(rank), share);
                assert_close(traffic.bytes_to(rank), share);
            }
        }
        let tree = made(|t| drop(tree_all_reduce(t, &ranks, BYTES, 8, start())));
        let all: f64 = ranks.iter().map(|&rank| tree.bytes_from(rank)).sum();
        assert_close(all, 2.0 * f64::from(n - 1) * BYTES);
        let half = made(|t| drop(ring_reduce_scatter(t, &ranks, BYTES, start())));
        assert_close(half.bytes_from(ranks[0]), share / 2.0);
    }
}

#[test]
fn all_to_alls_bring_everything_to_its_place() {
    let (nodes, star) = (nodes(4, 4), Star::new(4, 4));
    let ranks = star.endpoints();
    let start = Frontier::start(ranks.len());
    for traffic in [
        made(|t| drop(all_to_all(t, &ranks, BYTES, &start))),
        made(|t| drop(pairwise_all_to_all(t, &ranks, BYTES, start.clone()))),
    ] {
        for &rank in &ranks {
            assert_close(traffic.bytes_from(rank), 15.0 * BYTES);
            assert_close(traffic.bytes_to(rank), 15.0 * BYTES);
        }
    }
    // Twelve strangers' rows cross to each rank's node, however they are brought there.
    let plain = made(|t| drop(all_to_all(t, &ranks, BYTES, &start)));
    let hierarchical = made(|t| drop(hierarchical_all_to_all(t, &nodes, BYTES, &start)));
    assert_close(plain.bytes_between_nodes(4), 16.0 * 12.0 * BYTES);
    assert_close(hierarchical.bytes_between_nodes(4), plain.bytes_between_nodes(4));
}

fn outcome(traffic: &Traffic, routes: &mut dyn Routes) -> Outcome {
    let routed = traffic.flows(routes).expect("there is a route");
    simulate(routes.network(), &routed.flows, Weighting::Equal).expect("it can be simulated")
}

#[test]
fn a_ring_takes_its_bytes_over_the_slowest_link_and_a_latency_a_step() {
    let mut star = Star::new(8, 1);
    let ranks = star.endpoints();
    let ring = made(|t| drop(ring_all_reduce(t, &ranks, BYTES, Frontier::start(8))));
    let steps = 14.0;
    assert_close(outcome(&ring, &mut star).makespan, steps * (BYTES / 8.0 / 50e9 + 1.2e-6));
}

#[test]
fn switches_that_add_halve_the_time_of_a_large_all_reduce() {
    let mut star = Star::new(16, 1);
    let ranks = star.endpoints();
    let mut seconds = |operation| {
        let mut traffic = Traffic::new();
        let start = Frontier::start(ranks.len());
        in_network(&mut traffic, &mut star, &ranks, BYTES, operation, &start).expect("there is a route");
        let sum: f64 = traffic.messages().iter().map(|message| message.bytes).sum();
        (outcome(&traffic, &mut star).makespan, sum)
    };
    let (reduce, bytes) = seconds(InNetwork::AllReduce);
    assert_close(reduce, BYTES / 50e9 + 6e-7);
    assert_close(bytes, 32.0 * BYTES);
    for operation in [InNetwork::ReduceScatter, InNetwork::AllGather] {
        let (half, bytes) = seconds(operation);
        assert_close(half, reduce);
        assert_close(bytes, 17.0 * BYTES);
    }
    let ring = made(|t| drop(ring_all_reduce(t, &ranks, BYTES, Frontier::start(16))));
    assert!(outcome(&ring, &mut star).makespan > 1.8 * reduce, "a ring sends everything almost twice");
}

#[test]
fn a_pipeline_takes_its_first_microbatch_and_then_one_a_turn() {
    let mut star = Star::new(4, 1);
    let ranks = star.endpoints();
    let traffic = made(|t| drop(pipeline_sends(t, &ranks, 10, 1.0, 0.0, Frontier::start(4))));
    let seconds = outcome(&traffic, &mut star).makespan;
    assert!((seconds - 13.0).abs() < 1e-4, "{seconds}");
}

/// Fat-trees in the numbering of the cases: hosts' cables first, then leaf after leaf, up and down in turn; before
/// all trees, what goes out of and into each GPU.
struct Trees {
    network: Network,
    hosts: u32,
    per_leaf: u32,
    spines: u32,
    planes: u32,
}

impl Routes for Trees {
    fn network(&self) -> &Network {
        &self.network
    }

    fn n_endpoints(&self) -> u32 {
        self.hosts * self.planes
    }

    fn endpoints_per_node(&self) -> u32 {
        self.planes
    }

    fn paths(
        &mut self,
        from: EndpointId,
        to: EndpointId,
        _key: u64,
        give: &mut dyn FnMut(f64, &[LinkId]),
    ) -> Result<(), NoRoute> {
        let (planes, spines) = (self.planes, self.spines);
        let (a, b, plane) = (from.0 / planes, to.0 / planes, to.0 % planes);
        let tree = 2 * self.hosts + 2 * self.hosts.div_ceil(self.per_leaf) * spines;
        let first = if planes > 1 { 2 * self.hosts * planes + plane * tree } else { 0 };
        let uplink = |host: u32| first + 2 * self.hosts + 2 * (host / self.per_leaf * spines + b % spines);
        let path: Vec<u32> = match (a == b, a / self.per_leaf == b / self.per_leaf) {
            (true, _) => vec![2 * from.0, 2 * to.0 + 1],
            (false, true) => vec![first + 2 * a, first + 2 * b + 1],
            (false, false) => vec![first + 2 * a, uplink(a), uplink(b) + 1, first + 2 * b + 1],
        };
        assert!(a == b || from.0 % planes == plane, "these collectives stay on their plane");
        give(1.0, &path.into_iter().map(LinkId).collect::<Vec<_>>());
        Ok(())
    }
}

#[test]
fn all_reduces_end_when_another_simulator_says() {
    let mib = f64::from(1 << 20);
    let tree = |text: &[u8], hosts, per_leaf, spines, planes| {
        let case = Case::parse(text).expect("a case");
        let expected = case.expected.clone().expect("it says what is expected").makespan_s;
        (Trees { network: case.network(), hosts, per_leaf, spines, planes }, expected)
    };
    let check = |(mut trees, expected): (Trees, f64), traffic: Traffic| {
        let found = outcome(&traffic, &mut trees).makespan;
        assert!((found - expected).abs() <= 1e-9 * expected, "{found} is not {expected}");
    };
    let ranks = |n: u32| (0..n).map(EndpointId).collect::<Vec<_>>();
    check(
        tree(include_bytes!("../../../tests/cases/024-ring-allreduce-16.json"), 16, 4, 4, 1),
        made(|t| drop(ring_all_reduce(t, &ranks(16), 64.0 * mib, Frontier::start(16)))),
    );
    check(
        tree(include_bytes!("../../../tests/cases/025-rhd-allreduce-32.json"), 32, 8, 4, 1),
        made(|t| drop(halving_all_reduce(t, &ranks(32), 32.0 * mib, Frontier::start(32)))),
    );
    check(
        tree(include_bytes!("../../../tests/cases/043-mpft-hier-allreduce.json"), 8, 4, 2, 8),
        made(|t| drop(hierarchical_all_reduce(t, &nodes(8, 8), 64.0 * mib, &Frontier::start(64)))),
    );
}
