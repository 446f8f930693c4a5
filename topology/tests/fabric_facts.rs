//! Counts, bisection, diameter and cost of fabrics.

use ds_topology::fabric::{Fabric, built_in, paper_table};

fn graph(nodes: u32, network: &str) -> Fabric {
    let node = "node: { gpus: 1, nics: 1, nic: { bandwidth: 400Gbps, latency: 1us } }";
    let link = "link: { bandwidth: 400Gbps, latency: 1us }";
    Fabric::parse(&format!("{{ version: 1, name: t, nodes: {nodes}, {node}, network: {{ {network}, {link} }} }}"))
        .unwrap_or_else(|error| panic!("{network}: {error}"))
}

#[test]
fn the_papers_topology_table_comes_out() {
    // Table 3 of arXiv 2505.09343: endpoints, switches, links, M$, k$ for each endpoint.
    let expected = [
        ("FT2", 2048, 96, 2048, 9.0, 4.39),
        ("MPFT", 16_384, 768, 16_384, 72.0, 4.39),
        ("FT3", 65_536, 5120, 131_072, 491.0, 7.5),
        ("SF", 32_928, 1568, 32_928, 146.0, 4.4),
        ("DF", 261_632, 16_352, 384_272, 1522.0, 5.8),
    ];
    let found = paper_table();
    assert_eq!(found.len(), expected.len());
    for (row, (name, endpoints, switches, links, millions, thousands)) in found.iter().zip(expected) {
        let counts = row.counts;
        assert_eq!((row.name, counts.endpoints, counts.switches, counts.links), (name, endpoints, switches, links));
        assert!((counts.cost / 1e6 / millions - 1.0).abs() < 0.01, "{name}: {} M$, not {millions}", counts.cost / 1e6);
        assert!((row.cost_per_endpoint / 1e3 / thousands - 1.0).abs() < 0.01, "{name}: {}", row.cost_per_endpoint);
    }
}

#[test]
fn a_slim_fly_has_diameter_two_and_its_degree_for_every_prime_power() {
    for q in [3, 4, 5, 7, 8, 9, 11, 13, 16, 17, 19, 25, 27] {
        let fly = graph(2 * q * q, &format!("kind: slim_fly, q: {q}, hosts_per_switch: 1"));
        assert_eq!(fly.diameter(), Some(2), "q = {q}");
        let delta = [0, 1, 0, -1][q as usize % 4];
        let degree = (3 * i64::from(q) - delta) / 2;
        assert_eq!(fly.counts().links as i64, 2 * i64::from(q * q) * degree / 2, "q = {q}");
    }
}

#[test]
fn a_dragonfly_has_diameter_three_and_every_pair_of_groups_a_cable() {
    for (a, h, groups) in [(4, 2, 9), (4, 2, 5), (2, 1, 3), (8, 4, 33)] {
        let sizes = format!("group_switches: {a}, global_links: {h}, hosts_per_switch: 1, groups: {groups}");
        let fly = graph(a * groups, &format!("kind: dragonfly, {sizes}"));
        assert_eq!(fly.diameter(), Some(3), "{sizes}");
        let within = groups * a * (a - 1) / 2;
        assert!(fly.counts().links >= u64::from(within + groups * (groups - 1) / 2), "{sizes}");
    }
}

#[test]
fn a_tree_without_oversubscription_has_half_of_all_hosts_as_bisection() {
    for (network, of_full) in [
        ("kind: fat_tree, radix: 8", 1.0),
        ("kind: fat_tree, hosts_per_switch: 4, uplinks: 2", 0.5),
        ("kind: fat_tree, layers: 3, radix: 8", 1.0),
        (
            "kind: fat_tree, layers: 3, radix: 8, hosts_per_switch: 4, uplinks: 4, core_uplinks: 2, leaves_per_pod: 4",
            0.5,
        ),
    ] {
        let tree = graph(32, network);
        assert_eq!(tree.bisection(), 32.0 * 50e9 / 2.0 * of_full, "{network}");
    }
    assert_eq!(graph(32, "kind: fat_tree, radix: 8, layers: 3").diameter(), Some(4));
    assert_eq!(graph(32, "kind: fat_tree, radix: 8").diameter(), Some(2));
    assert_eq!(graph(4, "kind: fat_tree, radix: 8").diameter(), Some(0));
}

#[test]
fn the_bisection_of_a_graph_is_a_cut_and_no_more_than_its_hosts() {
    let fly = graph(50, "kind: slim_fly, q: 5, hosts_per_switch: 1");
    assert_eq!(fly.bisection(), 25.0 * 50e9, "hosts are what limits it");
    // Four hosts a switch: 175 cables, of which a bisection of the Hoffman-Singleton graph cuts at least 50·(7-2)/4 = 62.5.
    let full = graph(200, "kind: slim_fly, q: 5, hosts_per_switch: 4");
    let cables = full.bisection() / 50e9;
    assert!((63.0..=87.5).contains(&cables), "{cables} cables are cut");
}

#[test]
fn faults_take_away_what_they_carried() {
    let whole = Fabric::parse(built_in("h800-mpft-2048").expect("it comes with the program")).expect("a fabric");
    let lost = whole.clone().with_faults(&["plane=3".parse().expect("a fault")]).expect("a plane");
    assert!((lost.bisection() / whole.bisection() - 7.0 / 8.0).abs() < 1e-12);
    assert_eq!(whole.facts().bisection_per_gpu, 40e9);
    assert_eq!((whole.diameter(), lost.diameter()), (Some(2), None));
    let spine = whole.clone().with_faults(&["switch=spine0.p0".parse().expect("a fault")]).expect("a spine");
    assert_eq!(spine.diameter(), Some(2));
    assert!(spine.bisection() < whole.bisection());
}
