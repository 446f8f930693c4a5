//! Laws of routes, for every topology and policy; and what "Insights into DeepSeek-V3" says of them.

use std::sync::Arc;

use ds_topology::fabric::{Fabric, Point, built_in};
use ds_topology::flow::{Flow, LinkId, Weighting, simulate};
use ds_topology::routing::{FabricRoutes, Policy, all_to_all, reachable};
use ds_topology::{EndpointId, Routes};

const POLICIES: [&str; 7] = ["static", "static-rail", "ecmp:1", "ecmp:2", "adaptive", "spray", "valiant:5"];

/// Nodes with GPUs and NICs, on a network.
fn fabric(nodes: u32, gpus: u32, nics: u32, ports: u32, network: &str) -> Fabric {
    let within = "within: { bandwidth: 160GB/s, latency: 500ns }";
    let nic = format!("nic: {{ ports: {ports}, bandwidth: 400Gbps, latency: 600ns }}");
    let link = "link: { bandwidth: 400Gbps, latency: 400ns }";
    let yaml = format!(
        "{{ version: 1, name: t, nodes: {nodes}, node: {{ gpus: {gpus}, {within}, nics: {nics}, {nic} }}, \
         network: {{ {network}, {link} }} }}"
    );
    Fabric::parse(&yaml).unwrap_or_else(|error| panic!("{yaml}\n{error}"))
}

/// One of each sort, small.
fn fabrics() -> Vec<Fabric> {
    vec![
        fabric(12, 1, 1, 1, "kind: fat_tree, radix: 8"),
        fabric(12, 1, 1, 1, "kind: fat_tree, radix: 8, oversubscription: 3"),
        fabric(16, 1, 1, 1, "kind: fat_tree, radix: 4, layers: 3, leaves_per_pod: 2, hosts_per_switch: 2"),
        fabric(6, 4, 4, 1, "kind: fat_tree, radix: 8"),
        fabric(6, 4, 4, 1, "kind: multi_plane_fat_tree, planes: 4, radix: 4"),
        fabric(6, 4, 4, 1, "kind: multi_plane_fat_tree, planes: 4, radix: 4, pxn: false"),
        fabric(6, 4, 2, 4, "kind: multi_plane_fat_tree, planes: 4, radix: 8"),
        fabric(6, 2, 4, 1, "kind: multi_plane_fat_tree, planes: 2, radix: 8"),
        fabric(8, 4, 4, 1, "kind: multi_rail_fat_tree, radix: 8"),
        fabric(8, 4, 4, 1, "kind: multi_rail_fat_tree, radix: 8, rails: 2, pxn: false"),
        fabric(12, 2, 2, 1, "kind: multi_plane_fat_tree, planes: 2, layers: 3, radix: 4, leaves_per_pod: 2"),
        fabric(50, 1, 1, 1, "kind: slim_fly, q: 4, hosts_per_switch: 2"),
        fabric(50, 1, 1, 1, "kind: slim_fly, q: 5, hosts_per_switch: 1"),
        fabric(36, 2, 2, 1, "kind: dragonfly, group_switches: 4, global_links: 2, hosts_per_switch: 2"),
        fabric(30, 1, 1, 1, "kind: dragonfly, group_switches: 4, global_links: 2, hosts_per_switch: 2, groups: 4"),
    ]
}

fn paths(routes: &mut FabricRoutes, from: u32, to: u32, key: u64) -> Vec<(f64, Vec<LinkId>)> {
    let mut found = Vec::new();
    let given =
        routes.paths(EndpointId(from), EndpointId(to), key, &mut |share, path| found.push((share, path.to_vec())));
    given.unwrap_or_else(|error| panic!("{}: {error}", routes.fabric().name()));
    found
}

/// From the sender to the receiver without a gap, and over nothing that is down.
#[track_caller]
fn whole(fabric: &Fabric, from: u32, to: u32, path: &[LinkId]) {
    let per_node = fabric.gpus_per_node();
    let mut at = Point::Gpu(from);
    for &link in path {
        assert!(!fabric.is_down(link), "{} is down", fabric.network()[link.0 as usize].name);
        let (begin, end) = fabric.ends(link);
        let joined = match (at, begin) {
            // A GPU hands over to a NIC of its node, and takes from it.
            (Point::Gpu(gpu), Point::Port { node, .. }) => gpu / per_node == node,
            (Point::Port { node, .. }, Point::Gpu(gpu)) => gpu / per_node == node,
            (at, begin) => at == begin,
        };
        assert!(joined, "from {from} to {to}: {at:?} is not {begin:?} in {}", fabric.name());
        at = end;
    }
    let arrived = match at {
        Point::Gpu(gpu) => gpu == to,
        Point::Port { node, .. } => node == to / per_node,
        Point::Within { .. } | Point::Switch(_) => false,
    };
    assert!(arrived, "from {from} to {to}: ends at {at:?}");
}

fn all_pairs(fabric: &Fabric) -> impl Iterator<Item = (u32, u32)> + use<> {
    let n = fabric.n_gpus();
    (0..n).flat_map(move |from| (0..n).map(move |to| (from, to)))
}

#[test]
fn every_path_is_whole_and_shares_add_up_to_one() {
    for fabric in fabrics().into_iter().map(Arc::new) {
        for policy in POLICIES {
            let mut routes = FabricRoutes::new(fabric.clone(), policy.parse().expect("a policy"));
            for (from, to) in all_pairs(&fabric) {
                let found = paths(&mut routes, from, to, 3);
                let shares: f64 = found.iter().map(|(share, _)| share).sum();
                assert!((shares - 1.0).abs() < 1e-12, "{policy}: {shares}");
                found.iter().filter(|_| from != to).for_each(|(_, path)| whole(&fabric, from, to, path));
            }
        }
    }
}

#[test]
fn whatever_fails_is_by_passed_while_a_way_is_left() {
    for fabric in fabrics() {
        let links = fabric.network().len();
        // One link after another, among those that have a way around them.
        for broken in (0..links).step_by(7) {
            let link = fabric.network()[broken].name.clone();
            let fault = format!("link={link}").parse().expect("a fault");
            let broken = Arc::new(fabric.clone().with_faults(&[fault]).expect("a link"));
            if reachable(&broken).is_err() {
                let of_only_port = fabric.nics_per_node() == 1 && link.starts_with(['h', 'e']);
                assert!(link.contains(".nv") || of_only_port, "{link} of {}", fabric.spec().to_yaml().expect("YAML"));
                continue;
            }
            for policy in POLICIES {
                let mut routes = FabricRoutes::new(broken.clone(), policy.parse().expect("a policy"));
                for (from, to) in all_pairs(&broken).step_by(3).filter(|(from, to)| from != to) {
                    paths(&mut routes, from, to, 0).iter().for_each(|(_, path)| whole(&broken, from, to, path));
                }
            }
        }
    }
}

#[test]
fn a_lost_plane_costs_a_hop_within_the_node_and_no_pair() {
    let lost = ["plane=2".parse().expect("a fault")];
    let fabric = fabric(6, 4, 4, 1, "kind: multi_plane_fat_tree, planes: 4, radix: 4");
    let fabric = Arc::new(fabric.with_faults(&lost).expect("a plane"));
    assert_eq!(reachable(&fabric), Ok(()));
    let mut routes = FabricRoutes::new(fabric.clone(), Policy::Static);
    for (from, to) in all_pairs(&fabric).filter(|(from, to)| from / 4 != to / 4) {
        let path = &paths(&mut routes, from, to, 0)[0].1;
        whole(&fabric, from, to, path);
        let handed_on = fabric.plane_of(path[path.len() - 1]).is_none();
        assert_eq!(handed_on, to % 4 == 2, "from {from} to {to}");
    }
}

#[test]
fn a_node_with_all_its_nics_down_is_found() {
    let fabric = fabric(6, 4, 4, 1, "kind: multi_plane_fat_tree, planes: 4, radix: 4");
    let faults: Vec<_> = (0..4).map(|nic| format!("nic=node3/{nic}").parse().expect("a fault")).collect();
    let cut_off = reachable(&Arc::new(fabric.with_faults(&faults).expect("NICs"))).expect_err("it is cut off");
    assert!([cut_off.from.0 / 4, cut_off.to.0 / 4].contains(&3), "{cut_off}");
}

#[test]
fn a_gpu_of_a_single_node_without_its_nvlink_is_found() {
    let node = Fabric::parse(built_in("h800-node").expect("it comes with the program")).expect("a node");
    assert_eq!(reachable(&Arc::new(node.clone())), Ok(()));
    let broken = node.with_faults(&["link=g5.nvi".parse().expect("a fault")]).expect("a link");
    assert_eq!(reachable(&Arc::new(broken)).expect_err("it is cut off").to, EndpointId(5));
}

#[test]
fn small_messages_take_as_long_as_was_measured() {
    // Table 5 of arXiv 2505.09343, InfiniBand and NVLink, 64 bytes: 2.8 us under one leaf, 3.7 across, 3.33 in a node.
    let fabric = Fabric::parse(built_in("h800-mpft-2048").expect("it comes with the program")).expect("a fabric");
    let mut routes = FabricRoutes::new(fabric, Policy::Static);
    for (to, microseconds) in [(8, 2.8), (255 * 8, 3.7), (1, 3.33)] {
        let path = &paths(&mut routes, 0, to, 0)[0].1;
        let seconds: f64 = path.iter().map(|link| routes.network()[link.0 as usize].latency).sum();
        assert!((seconds * 1e6 - microseconds).abs() < 1e-9, "to {to}: {seconds} s");
    }
}

#[test]
fn spray_takes_every_uplink_alike() {
    let fabric = Arc::new(fabric(12, 1, 1, 1, "kind: fat_tree, radix: 8"));
    let mut routes = FabricRoutes::new(fabric, Policy::Spray);
    let found = paths(&mut routes, 0, 11, 0);
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|(share, path)| *share == 0.25 && path.len() == 4));
}

#[test]
fn by_rail_static_routes_of_all_to_all_load_all_uplinks_alike() {
    let yaml = built_in("h800-mrft-2048").expect("it comes with the program");
    let fabric = Arc::new(Fabric::parse(yaml).expect("a fabric"));
    let busiest_of_mean = |policy: &str| {
        let mut routes = FabricRoutes::new(fabric.clone(), policy.parse().expect("a policy"));
        let loads = all_to_all(&mut routes, 1e9).expect("all are reached");
        let uplinks = fabric.network().iter().zip(&loads).filter(|(link, _)| link.name.starts_with('L'));
        let loads: Vec<f64> = uplinks.map(|(_, load)| *load).collect();
        loads.iter().copied().fold(0.0, f64::max) / (loads.iter().sum::<f64>() / loads.len() as f64)
    };
    assert!(busiest_of_mean("static-rail") < 1.01, "{}", busiest_of_mean("static-rail"));
    assert!(
        busiest_of_mean("static") > 7.9,
        "GPU numbers of a rail are equal modulo 8, so that 4 of 32 uplinks are taken"
    );
}

#[test]
fn hashes_differ_by_message_and_by_seed_but_not_from_run_to_run() {
    let fabric = Arc::new(fabric(64, 1, 1, 1, "kind: fat_tree, radix: 32"));
    let choices = |seed: u64, keys: std::ops::Range<u64>| -> Vec<LinkId> {
        let mut routes = FabricRoutes::new(fabric.clone(), Policy::Ecmp { seed });
        keys.map(|key| paths(&mut routes, 0, 63, key)[0].1[1]).collect()
    };
    assert_eq!(choices(1, 0..40), choices(1, 0..40));
    assert_ne!(choices(1, 0..40), choices(2, 0..40));
    let mut distinct = choices(1, 0..200);
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 16, "every uplink is taken by some message");
}

/// Rings of `size` GPUs, each with a member under every `stride`-th host: what data- and tensor-parallel groups send in a
/// step of all-gather or reduce-scatter. Gives seconds until all are through.
fn rings(fabric: &Arc<Fabric>, policy: &str, size: u32, stride: u32) -> f64 {
    const BYTES: f64 = 256e6;
    let mut routes = FabricRoutes::new(fabric.clone(), policy.parse().expect("a policy"));
    let mut flows = Vec::new();
    let mut ring_flows = |from: u32, to: u32| {
        for (share, path) in paths(&mut routes, from, to, 0) {
            flows.push(Flow { bytes: BYTES * share, start: 0.0, delay: 0.0, deps: Vec::new(), path });
        }
    };
    for ring in 0..fabric.n_gpus() / size {
        let member = |i: u32| ring / stride * stride * size + ring % stride + i % size * stride;
        (0..size).for_each(|i| ring_flows(member(i), member(i + 1)));
    }
    simulate(fabric.network(), &flows, Weighting::Equal).expect("flows that can be").makespan
}

#[test]
fn few_large_flows_collide_under_ecmp_and_not_under_adaptive_sprayed_or_well_chosen_static_routes() {
    // Section 5.2 and figure 8 of the paper: RoCE, leaves of 16, groups across leaves.
    let fabric = Arc::new(fabric(128, 1, 1, 1, "kind: fat_tree, radix: 32"));
    let alone = 256e6 / 50e9;
    for size in [2, 4, 8] {
        for policy in ["static", "adaptive", "spray"] {
            let slower = rings(&fabric, policy, size, 16) / alone;
            assert!((1.0..1.01).contains(&slower), "{policy}, groups of {size}: {slower} times as long");
        }
        let slower: f64 =
            (0..8).map(|seed| rings(&fabric, &format!("ecmp:{seed}"), size, 16) / alone).sum::<f64>() / 8.0;
        assert!(slower > 1.9, "ecmp, groups of {size}: {slower} times as long");
    }
}

#[test]
fn valiant_and_adaptive_routes_spread_what_minimal_ones_pile_up() {
    // Every group of a Dragonfly sends to the next: the bad case of minimal routes (Kim et al., section 4).
    let sizes = "kind: dragonfly, group_switches: 8, global_links: 4, hosts_per_switch: 4";
    let fabric = Arc::new(fabric(1056, 1, 1, 1, sizes));
    let busiest = |policy: &str| {
        let mut routes = FabricRoutes::new(fabric.clone(), policy.parse().expect("a policy"));
        let mut n_messages = vec![0; fabric.network().len()];
        for (from, key) in (0..1056).flat_map(|from| (0..16).map(move |key| (from, key))) {
            let found = paths(&mut routes, from, (from + 32) % 1056, key);
            found.iter().flat_map(|(_, path)| path).for_each(|link| n_messages[link.0 as usize] += 1);
        }
        n_messages.into_iter().max().expect("links")
    };
    assert_eq!(busiest("static"), 16 * 8, "eight hosts by one cable");
    for (policy, most) in [("valiant:1", 100), ("adaptive", 64)] {
        assert!(busiest(policy) < most, "{policy}: {}", busiest(policy));
    }
}
