//! What befalls a fabric, evaluated again from a base that was kept.

use std::sync::Arc;

use ds_topology::fabric::Fabric;
use ds_topology::routing::{FabricRoutes, Policy};

use super::super::event::Epoch;
use super::super::{Base, Options, Run, SimulateError, WhatIf, simulate, states};
use super::fabric::Planes;
use super::jobs::Owned;

const FABRIC: &str = "{ version: 1, name: two leaves, nodes: 8, node: { gpus: 4, nics: 4,
    within: { kind: nvlink, bandwidth: 160GB/s, latency: 1us }, nic: { bandwidth: 400Gbps, latency: 1us } },
    network: { kind: multi_plane_fat_tree, planes: 4, radix: 8, link: { bandwidth: 400Gbps, latency: 400ns } } }";

/// The states that a fabric goes through.
struct Story {
    routes: Vec<(f64, FabricRoutes)>,
}

impl Story {
    fn new(events: &[String], policy: Policy) -> Self {
        let fabric = Fabric::parse(FABRIC).expect("a fabric");
        let events: Vec<WhatIf> = events.iter().map(|event| event.parse().expect("it reads")).collect();
        let states = states(&fabric, &events).expect("states").into_iter();
        Self { routes: states.map(|(from, fabric)| (from, FabricRoutes::new(Arc::new(fabric), policy))).collect() }
    }

    fn epochs(&mut self) -> Vec<Epoch<'_>> {
        let downs: Vec<Vec<bool>> = self.routes.iter().map(|(_, routes)| routes.fabric().down().to_vec()).collect();
        let routes = self.routes.iter_mut().zip(downs);
        routes.map(|((from, routes), down)| Epoch { from: *from, routes, down }).collect()
    }
}

fn whole(base: &Base<'_>) -> f64 {
    base.then(&mut []).expect("it runs").seconds()
}

/// Every operation of every rank ends at the same time.
fn same(a: &Run, b: &Run, what: &str) {
    for rank in 0..a.n_ranks() {
        for (one, other) in a.spans(rank).zip(b.spans(rank)) {
            assert!((one.end - other.end).abs() <= 1e-9 * other.end, "{what}, rank {rank}: {one:?} {other:?}");
        }
    }
    for link in 0..a.n_links() {
        let (one, other) = (a.link(link).bytes, b.link(link).bytes);
        assert!((one - other).abs() <= 1e-9 * other.max(1.0), "{what}, link {link}: {one} {other}");
    }
}

/// From one base, each story is as if it were played alone, with and without reuse.
fn evaluates_again(job: &Owned, policy: Policy) {
    let mut healthy = Story::new(&[], policy);
    job.with(|job| {
        let options = Options::default();
        let base = Base::new(job, &mut healthy.epochs()[0], &options).expect("a base");
        let seconds = whole(&base);
        for part in ["link=P2.h5.up", "nic=node2/1", "plane=3", "switch=leaf0.p1"] {
            let (lost, repaired) = (0.37 * seconds, 0.61 * seconds);
            for events in [
                vec![format!("{part}:down@t={lost}s")],
                vec![format!("{part}:down@t={lost}s"), format!("{part}:up@t={repaired}s")],
                vec![format!("{part}:down"), format!("{part}:up@t={repaired}s")],
                vec![format!("{part}:x0.5@t={lost}s")],
            ] {
                let mut story = Story::new(&events, policy);
                let mut epochs = story.epochs();
                let again = again(&base, &mut epochs).expect("it runs");
                for reuse in [true, false] {
                    let alone = simulate(job, &mut epochs, &Options { reuse, ..options.clone() }).expect("it runs");
                    same(&again, &alone, &format!("{events:?}, reuse {reuse}"));
                }
            }
        }
        assert_eq!(whole(&base), seconds, "what was evaluated from the base leaves no mark on it");
    });
}

fn again(base: &Base<'_>, epochs: &mut [Epoch<'_>]) -> Result<Run, SimulateError> {
    let (first, later) = epochs.split_first_mut().expect("a state");
    // The stories that begin with a fault have another first state.
    if first.down.contains(&true) { base.instead(first, later) } else { base.then(later) }
}

#[test]
fn what_is_evaluated_again_is_as_if_played_alone() {
    evaluates_again(&Owned::new(2, 2, 8, 4).overlapped(), Policy::Static);
}

#[test]
fn so_it_is_with_skewed_loads_and_sprayed_messages() {
    evaluates_again(&Owned::new(2, 1, 16, 2).skewed(0.8), Policy::Static);
    evaluates_again(&Owned::new(2, 2, 8, 2), Policy::Spray);
}

#[test]
fn a_nic_of_one_node_tells_no_others_apart_by_how_far_they_are() {
    let mut story = Story::new(&["nic=node2/1:down@t=1ms".to_owned()], Policy::Static);
    let mut job = Owned::new(1, 1, 32, 4);
    let joint = |job: &Owned, story: &mut Story, steps| {
        let run = job.with(|job| simulate(job, &mut story.epochs(), &Options { steps, ..Options::default() }));
        run.expect("it runs").n_main
    };
    let (apart, together) = (joint(&job, &mut story, 1), joint(&job, &mut story, 2));
    assert!(2 * apart <= together, "{apart} of {together} ranks");
    // Where nothing ends a step but a join, that makes no difference.
    job.closing.iter_mut().for_each(|closing| *closing = super::super::Closing::default());
    assert_eq!(joint(&job, &mut story, 1), joint(&job, &mut story, 2));
}

#[test]
fn sixty_four_ranks_end_alike_with_and_without_reuse() {
    let planes = || Planes::new(16, 4, 8, 2);
    for job in [
        Owned::new(4, 1, 16, 8).overlapped(),
        Owned::new(2, 2, 16, 4).overlapped().skewed(1.0),
        Owned::new(1, 2, 32, 3).skewed(0.5),
    ] {
        let run = |reuse| {
            let (mut routes, down) = (planes(), Vec::new());
            let options = Options { reuse, ..Options::default() };
            job.with(|job| simulate(job, &mut [Epoch { from: 0.0, routes: &mut routes, down }], &options))
        };
        let (once, each) = (run(true).expect("it runs"), run(false).expect("it runs"));
        assert_eq!(each.n_ranks_played(), 64);
        same(&once, &each, "64 ranks");
    }
}
