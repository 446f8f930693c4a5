//! What must hold when links fail and flows change their path, and what is written down of a run.

use ds_topology::flow::{
    Change, Flow, FlowError, FlowId, FlowSet, HeldBy, Link, LinkId, Network, Simulation, Watch, Watched, Weighting,
};

fn link(capacity: f64, latency: f64) -> Link {
    Link { name: "l".to_owned(), capacity, latency }
}

fn flow(bytes: f64, path: &[u32]) -> Flow {
    Flow { bytes, start: 0.0, delay: 0.0, deps: vec![], path: path.iter().copied().map(LinkId).collect() }
}

fn capacity(at: f64, link: u32, bytes_per_s: f64) -> Change {
    Change::Capacity { at, link: LinkId(link), bytes_per_s }
}

fn reroute(at: f64, flow: u32, path: &[u32]) -> Change {
    Change::Reroute { at, flow: FlowId(flow), path: path.iter().copied().map(LinkId).collect() }
}

fn run(network: &Network, flows: &[Flow], changes: &[Change]) -> Result<Vec<f64>, FlowError> {
    let flows = flows.iter().collect();
    Ok(Simulation::new(network, &flows, Weighting::Equal).with_changes(changes).run()?.finish)
}

fn ends(network: &Network, flows: &[Flow], changes: &[Change]) -> Vec<f64> {
    run(network, flows, changes).expect("it can be simulated")
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-12 * b.abs(), "{found:?} {expected:?}");
    }
}

/// Four links, sixty flows, no latency and no two that are alike.
fn mixed() -> (Network, Vec<Flow>) {
    let network: Network = [7.0, 11.0, 13.0, 5.0].into_iter().map(|c| link(c, 0.0)).collect();
    let path = |i: u32| if i % 4 == (i / 4) % 3 { vec![i % 4] } else { vec![i % 4, (i / 4) % 3] };
    let flows = (0..60).map(|i| Flow { start: f64::from(i % 7), ..flow(f64::from(10 + i * 7 % 31), &path(i)) });
    (network, flows.collect())
}

#[test]
fn a_failure_is_a_pause_until_the_repair() {
    let network = vec![link(10.0, 0.5)];
    let flows = [flow(100.0, &[0]), flow(20.0, &[0])];
    // Both get 5: at 3.5 they have 15 each.
    assert_close(&ends(&network, &flows, &[]), &[12.5, 4.5]);
    assert_close(&ends(&network, &flows, &[capacity(3.5, 0, 0.0), capacity(6.0, 0, 10.0)]), &[15.0, 7.0]);
    let (network, flows) = mixed();
    let flows: Vec<Flow> = flows.into_iter().map(|flow| Flow { start: 0.0, ..flow }).collect();
    let all = |at, factor: f64| (0..4).map(move |l| (l, at, factor)).collect::<Vec<_>>();
    let change = |(l, at, factor): (u32, f64, f64)| capacity(at, l, network[l as usize].capacity * factor);
    let pause: Vec<Change> = all(20.0, 0.0).into_iter().chain(all(50.0, 1.0)).map(change).collect();
    let later = |end: f64| if end > 20.0 { end + 30.0 } else { end };
    let expected: Vec<f64> = ends(&network, &flows, &[]).into_iter().map(later).collect();
    assert_close(&ends(&network, &flows, &pause), &expected);
}

#[test]
fn a_change_to_what_is_already_so_changes_nothing() {
    let (network, flows) = mixed();
    let same: Vec<Change> = (0..40).map(|i| capacity(f64::from(i), i % 4, network[i as usize % 4].capacity)).collect();
    assert_close(&ends(&network, &flows, &same), &ends(&network, &flows, &[]));
    let ways = |flow: &Flow| flow.path.iter().map(|link| link.0).collect::<Vec<_>>();
    let same: Vec<Change> = (0..60).map(|i| reroute(9.5, i, &ways(&flows[i as usize]))).collect();
    assert_close(&ends(&network, &flows, &same), &ends(&network, &flows, &[]));
}

#[test]
fn half_of_all_capacities_takes_twice_as_long() {
    let (network, flows) = mixed();
    let flows: Vec<Flow> = flows.into_iter().map(|flow| Flow { start: 0.0, ..flow }).collect();
    let half: Vec<Change> = (0..4).map(|l| capacity(0.0, l, network[l as usize].capacity / 2.0)).collect();
    let twice: Vec<f64> = ends(&network, &flows, &[]).into_iter().map(|end| 2.0 * end).collect();
    assert_close(&ends(&network, &flows, &half), &twice);
}

#[test]
fn more_capacity_never_slows_an_all_to_all() {
    // Eight endpoints, each with a link up and a link down.
    let star = |up: f64, down: f64| (0..16).map(|l| link(if l % 2 == 0 { up } else { down }, 0.0)).collect::<Network>();
    let pairs = (0..8).flat_map(|s| (0..8).filter(move |&d| d != s).map(move |d| (s, d)));
    let flows: Vec<Flow> = pairs.map(|(s, d)| flow(21.0, &[2 * s, 2 * d + 1])).collect();
    let mut last = f64::INFINITY;
    for more in 0..10 {
        let network = star(7.0 + f64::from(more), 7.0 + 2.0 * f64::from(more));
        let end = ends(&network, &flows, &[]).into_iter().fold(0.0, f64::max);
        assert!((end - 7.0 * 21.0 / (7.0 + f64::from(more))).abs() < 1e-12 * end && end < last, "{more}: {end}");
        last = end;
    }
}

#[test]
fn what_a_flow_has_left_goes_over_its_new_path() {
    let network = vec![link(10.0, 0.0), link(2.0, 1.0), link(4.0, 0.0)];
    let flows = [flow(100.0, &[0]), flow(10.0, &[2])];
    // 60 have gone at 6.0; 40 are left, at 2.
    assert_close(&ends(&network, &flows, &[reroute(6.0, 0, &[1])]), &[26.0, 2.5]);
    // Before its first byte leaves, the latency of the new path counts; later it goes on at once.
    let late = [Flow { start: 7.0, ..flow(100.0, &[0]) }, flow(10.0, &[2])];
    assert_close(&ends(&network, &late, &[reroute(6.0, 0, &[1])]), &[58.0, 2.5]);
    // There and back again, and on to a link that somebody else is on.
    assert_close(&ends(&network, &flows, &[reroute(6.0, 0, &[1]), reroute(16.0, 0, &[0])]), &[18.0, 2.5]);
    assert_close(&ends(&network, &flows, &[reroute(1.0, 0, &[1]), reroute(1.0, 0, &[2])]), &[25.0, 4.0]);
    // A flow that has ended stays as it is.
    assert_close(&ends(&network, &flows, &[reroute(9.0, 1, &[0])]), &[10.0, 2.5]);
}

#[test]
fn a_lost_link_is_by_passed_by_those_who_crossed_it() {
    let network = vec![link(10.0, 0.0), link(10.0, 0.0)];
    let flows = [flow(100.0, &[0]), flow(200.0, &[1])];
    let lost = [capacity(4.0, 0, 0.0), reroute(4.0, 0, &[1])];
    // From 4.0 on both share the second link: 60 and 160 are left.
    assert_close(&ends(&network, &flows, &lost), &[16.0, 26.0]);
}

#[test]
fn a_flow_takes_no_more_than_its_own_limit() {
    let network = vec![link(10.0, 0.0)];
    let mut flows: FlowSet = [flow(30.0, &[0]), flow(30.0, &[0]), flow(30.0, &[0])].iter().collect();
    flows.limit_to(FlowId(1), 2.0);
    let simulation = Simulation::new(&network, &flows, Weighting::Equal);
    let (outcome, watched) = simulation.watch(Watch::default()).expect("it can be simulated");
    // The others share the 8 that it leaves.
    assert_close(&outcome.finish, &[7.5, 15.0, 7.5]);
    assert_eq!(watched.held_by, [HeldBy::Link(LinkId(0)), HeldBy::OwnLimit, HeldBy::Link(LinkId(0))]);
}

#[test]
fn a_flow_that_can_never_end_is_named_with_the_link_that_stops_it() {
    let network = vec![link(10.0, 0.0), link(10.0, 0.0)];
    let waits = Flow { deps: vec![FlowId(0)], ..flow(5.0, &[1]) };
    let flows = [flow(100.0, &[0]), flow(200.0, &[1]), waits];
    let error = run(&network, &flows, &[capacity(4.0, 0, 0.0)]).expect_err("link 0 is not repaired").to_string();
    assert_eq!(
        error,
        "flow 0 never ends: link 0 gives it nothing from 4 s on, and no change comes after that; 2 of 3 flows do not end"
    );
}

#[test]
fn changes_that_cannot_be_are_refused_with_their_numbers() {
    let network = vec![link(10.0, 0.0)];
    let flows = [flow(1.0, &[0]), flow(1.0, &[])];
    let refused = |change: Change| run(&network, &flows, &[change]).expect_err("refused").to_string();
    assert_eq!(refused(capacity(1.0, 3, 1.0)), "change 0 names link 3, but there are links 0 to 0");
    assert_eq!(refused(reroute(1.0, 9, &[0])), "change 0 names flow 9, but there are flows 0 to 1");
    assert_eq!(refused(reroute(1.0, 0, &[4])), "change 0 names link 4, but there are links 0 to 0");
    assert_eq!(refused(reroute(1.0, 0, &[])), "change 0: flow 0 needs at least one link to go over");
    assert_eq!(refused(reroute(1.0, 1, &[0])), "change 0: flow 1 crosses no link, so it has no path to change");
    assert_eq!(refused(capacity(f64::NAN, 0, 1.0)), "time of change 0 is NaN: it must be finite and not negative");
    assert_eq!(
        refused(capacity(1.0, 0, -5.0)),
        "bytes per second of change 0 is -5: it must be finite and not negative"
    );
    let mut limited: FlowSet = flows.iter().collect();
    limited.limit_to(FlowId(0), 0.0);
    let error = Simulation::new(&network, &limited, Weighting::Equal).run().expect_err("no rate").to_string();
    assert_eq!(error, "limit of flow 0 is 0: it must be greater than 0");
}

fn watched(network: &Network, flows: &[Flow], changes: &[Change]) -> (Vec<f64>, Watched) {
    let flows = flows.iter().collect();
    let simulation = Simulation::new(network, &flows, Weighting::Equal).with_changes(changes);
    let (outcome, watched) = simulation.watch(Watch { moments: 100_000 }).expect("it can be simulated");
    (outcome.finish, watched)
}

#[test]
fn links_carry_what_their_flows_bring_and_never_more_than_they_can() {
    let (network, mut flows) = mixed();
    flows.extend([flow(0.0, &[1]), flow(5.0, &[])]);
    let changes = [capacity(5.5, 1, 3.0), capacity(9.5, 1, 11.0), reroute(8.25, 3, &[2]), reroute(8.25, 7, &[0, 2])];
    for changes in [&changes[..0], &changes[..2], &changes[..]] {
        let (finish, watched) = watched(&network, &flows, changes);
        assert_close(&finish, &ends(&network, &flows, changes));
        let steps = watched.timeline.windows(2);
        for (l, link) in network.iter().enumerate() {
            let carried: f64 = steps.clone().map(|m| f64::from(m[0].load[l]) * (m[1].at - m[0].at)).sum();
            assert!(
                (carried - watched.carried[l]).abs() <= 1e-5 * carried,
                "link {l}: {carried} {:?}",
                watched.carried
            );
            let busy: f64 = steps.clone().filter(|m| m[0].load[l] > 0.0).map(|m| m[1].at - m[0].at).sum();
            assert!((busy - watched.busy[l]).abs() <= 1e-9 * busy, "link {l}: {busy} {:?}", watched.busy);
            assert!(watched.timeline.iter().all(|m| f64::from(m.load[l]) <= link.capacity * (1.0 + 1e-6)));
            assert!((0.5..=1.0 + 1e-12).contains(&watched.peak[l]), "link {l}: {:?}", watched.peak);
        }
        if changes.is_empty() {
            let brought =
                |l: u32| flows.iter().filter(move |f| f.path.contains(&LinkId(l))).map(|f| f.bytes).sum::<f64>();
            assert_close(&watched.carried, &[brought(0), brought(1), brought(2), brought(3)]);
        }
    }
}

#[test]
fn whatever_holds_a_flow_back_at_its_end_is_full() {
    let (network, mut flows) = mixed();
    flows.extend([flow(0.0, &[1]), flow(5.0, &[])]);
    let (finish, watched) = watched(&network, &flows, &[]);
    let mut n_held = 0;
    for (flow, (end, held_by)) in flows.iter().zip(finish.iter().zip(&watched.held_by)) {
        let HeldBy::Link(link) = *held_by else {
            assert!(*held_by == HeldBy::Nothing && (flow.bytes == 0.0 || flow.path.is_empty()));
            continue;
        };
        let before = watched.timeline.iter().rfind(|moment| moment.at < *end).expect("it began before");
        let (load, capacity) = (f64::from(before.load[link.0 as usize]), network[link.0 as usize].capacity);
        assert!(flow.path.contains(&link) && load >= capacity * (1.0 - 1e-6), "{load} of {capacity} on {link:?}");
        n_held += 1;
    }
    assert_eq!(n_held, 60);
}

#[test]
fn a_timeline_has_no_more_moments_than_were_asked_for() {
    let (network, flows) = mixed();
    let set = flows.iter().collect();
    for moments in [0, 1, 2, 7, 20] {
        let simulation = Simulation::new(&network, &set, Weighting::Equal);
        let (_, watched) = simulation.watch(Watch { moments }).expect("it can be simulated");
        assert!(watched.timeline.len() <= moments && (moments == 0 || !watched.timeline.is_empty()), "{moments}");
        assert!(watched.timeline.is_sorted_by(|a, b| a.at < b.at));
    }
}
