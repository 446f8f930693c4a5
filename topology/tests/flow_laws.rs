//! What must hold for flows of any kind, and what is refused.

use ds_topology::flow::{Flow, FlowError, FlowId, Link, LinkId, Network, Weighting, simulate};

fn link(capacity: f64, latency: f64) -> Link {
    Link { name: "l".to_owned(), capacity, latency }
}

fn flow(bytes: f64, path: &[u32]) -> Flow {
    Flow { bytes, start: 0.0, delay: 0.0, deps: vec![], path: path.iter().copied().map(LinkId).collect() }
}

fn ends(network: &Network, flows: &[Flow], weighting: Weighting) -> Vec<f64> {
    simulate(network, flows, weighting).expect("it can be simulated").finish
}

#[test]
fn two_flows_share_until_the_smaller_one_is_through() {
    let network = vec![link(100.0, 0.5)];
    // Both get 50 until 1.0 + 0.5; then the larger one has 100 left, at 100.
    assert_eq!(ends(&network, &[flow(50.0, &[0]), flow(150.0, &[0])], Weighting::Equal), [1.5, 2.5]);
}

#[test]
fn shares_go_by_the_inverse_of_the_latency_where_asked() {
    let network = vec![link(100.0, 0.0), link(1000.0, 1.0), link(1000.0, 3.0)];
    let flows = [flow(75.0, &[0, 1]), flow(25.0, &[0, 2])];
    // The second one begins at 3, when the first has gone since 1.75.
    assert_eq!(ends(&network, &flows, Weighting::InverseLatency), [1.75, 3.25]);
    let mut late = flows;
    late[0].start = 2.0;
    // From 3 on: 75 to 25.
    assert_eq!(ends(&network, &late, Weighting::InverseLatency), [4.0, 4.0]);
}

#[test]
fn a_flow_without_bytes_takes_its_latency_and_one_without_a_path_its_delay() {
    let network = vec![link(1.0, 2.0)];
    let wait = Flow { delay: 3.0, ..flow(1e9, &[]) };
    let after = Flow { deps: vec![FlowId(1)], delay: 0.5, ..flow(0.0, &[0]) };
    assert_eq!(ends(&network, &[flow(0.0, &[0]), wait, after], Weighting::Equal), [2.0, 3.0, 5.5]);
}

#[test]
fn the_numbers_of_links_and_flows_do_not_matter() {
    let capacities = [7.0, 11.0, 13.0, 5.0];
    let network: Network = capacities.iter().map(|&c| link(c, c / 100.0)).collect();
    let flows: Vec<Flow> = (0..60u32).map(|i| flow(f64::from(10 + i * 7 % 31), &[i % 4, (i / 4) % 3])).collect();
    let flows: Vec<Flow> = flows
        .into_iter()
        .map(|mut f| {
            f.path.dedup();
            f
        })
        .collect();
    let expected = ends(&network, &flows, Weighting::Equal);
    let renamed: Network = capacities.iter().rev().map(|&c| link(c, c / 100.0)).collect();
    let turned: Vec<Flow> = flows
        .iter()
        .rev()
        .map(|f| Flow { path: f.path.iter().map(|l| LinkId(3 - l.0)).collect(), ..f.clone() })
        .collect();
    for (a, b) in expected.iter().zip(ends(&renamed, &turned, Weighting::Equal).iter().rev()) {
        assert!((a - b).abs() <= 1e-12 * a, "{a} {b}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_numbers() {
    let network = vec![link(1.0, 0.0)];
    let refused = |flows: &[Flow], weighting| simulate(&network, flows, weighting).expect_err("refused").to_string();
    let waits = |dep: u32| Flow { deps: vec![FlowId(dep)], ..flow(1.0, &[0]) };
    let equal = Weighting::Equal;
    assert_eq!(refused(&[flow(1.0, &[4])], equal), "flow 0 crosses link 4, but there are links 0 to 0");
    assert_eq!(refused(&[waits(9)], equal), "flow 0 waits for flow 9, but there are flows 0 to 0");
    assert_eq!(
        refused(&[flow(1.0, &[0]), waits(2), waits(3), waits(1)], equal),
        "flows wait for each other in a circle: 1 -> 2 -> 3 -> 1"
    );
    assert_eq!(refused(&[flow(-1.0, &[0])], equal), "bytes of flow 0 is -1: it must be finite and not negative");
    assert!(refused(&[flow(1.0, &[0])], Weighting::InverseLatency).contains("no weight of 1 / latency"));
    let dead = vec![link(0.0, 0.0)];
    let error = simulate(&dead, &[], equal).expect_err("refused");
    assert!(matches!(error, FlowError::Number { what: "capacity", .. }), "{error}");
}
