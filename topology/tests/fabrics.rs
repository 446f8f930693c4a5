//! Fabrics: what comes with the program can be built, and what cannot be says why.

use std::collections::BTreeSet;
use std::path::Path;

use ds_topology::fabric::{BUILT_IN, Fabric, FabricError, FabricSpec, Point, built_in};
use ds_topology::flow::LinkId;

fn fabric(yaml: &str) -> Fabric {
    Fabric::parse(yaml).unwrap_or_else(|error| panic!("{yaml}\n{error}"))
}

fn known(name: &str) -> Fabric {
    fabric(built_in(name).expect("it comes with the program"))
}

/// Two-level tree of single GPUs, with more fields.
fn tree(nodes: u32, more: &str) -> String {
    format!(
        "version: 1\nname: t\nnodes: {nodes}\n\
         node: {{ gpus: 1, nics: 1, nic: {{ bandwidth: 400Gbps, latency: 600ns }} }}\n\
         network: {{ kind: fat_tree, link: {{ bandwidth: 400Gbps, latency: 400ns }}, {more} }}\n"
    )
}

#[track_caller]
fn refused(yaml: &str, reasons: &[&str]) {
    let error = Fabric::parse(yaml).expect_err("it cannot be").to_string();
    for reason in reasons {
        assert!(error.contains(reason), "{reason:?} is missing in\n{error}");
    }
}

#[test]
fn every_fabric_under_deploy_comes_with_the_program_under_its_own_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/fabrics");
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("deploy/fabrics").flatten() {
        let name = entry.path().file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(entry.path()).expect("a fabric");
        let spec = FabricSpec::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(spec.name, name);
        assert_eq!(built_in(&name), Some(text.as_str()), "{name} is not among the built-in ones");
        names.insert(name);
    }
    assert_eq!(names.len(), BUILT_IN.len());
}

#[test]
fn what_comes_with_the_program_can_be_built() {
    for (name, n_gpus) in [("h800-mpft-2048", 2048), ("h800-mrft-2048", 2048), ("ft3", 65_536), ("h800-node", 8)] {
        assert_eq!(known(name).n_gpus(), n_gpus, "{name}");
    }
    for name in ["h100-node", "h200-node", "a100-node", "gb200-nvl72", "laptop", "h800-mpft-16384"] {
        let fabric = known(name);
        assert!(fabric.network().iter().all(|link| link.capacity > 0.0), "{name}");
    }
}

#[test]
fn a_spec_that_was_written_reads_as_the_same() {
    for (name, yaml) in BUILT_IN {
        let spec = FabricSpec::parse(yaml).expect("a fabric");
        assert_eq!(FabricSpec::parse(&spec.to_yaml().expect("YAML")), Ok(spec), "{name}");
    }
}

#[test]
fn every_link_joins_what_its_name_says_and_names_are_unique() {
    for name in ["h800-mpft-2048", "h800-mrft-2048", "gb200-nvl72"] {
        let fabric = known(name);
        let names: BTreeSet<&str> = fabric.network().iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names.len(), fabric.network().len(), "{name}");
    }
    let fabric = fabric(&tree(4, "hosts_per_switch: 2, spines: 2"));
    let switch = |name| Point::Switch(fabric.switch_named(name).expect("a switch"));
    let link = |name: &str| {
        let place = fabric.network().iter().position(|link| link.name == name).expect("a link");
        fabric.ends(LinkId(place as u32))
    };
    assert_eq!(link("h3.up"), (Point::Port { node: 3, port: 0 }, switch("leaf1")));
    assert_eq!(link("h3.dn"), (switch("leaf1"), Point::Port { node: 3, port: 0 }));
    assert_eq!(link("l0s1.up"), (switch("leaf0"), switch("spine1")));
    assert_eq!(link("l1s0.dn"), (switch("spine0"), switch("leaf1")));
}

#[test]
fn the_plane_of_a_port_is_its_number_modulo_the_planes() {
    // Four NICs of two ports on eight planes: NIC 1 serves planes 2 and 3.
    let yaml = "version: 1\nname: t\nnodes: 4\n\
        node: { gpus: 4, within: { bandwidth: 200GB/s, latency: 1us }, nics: 4, nic: { ports: 2, bandwidth: 200Gbps, latency: 1us } }\n\
        network: { kind: multi_plane_fat_tree, planes: 8, radix: 8, link: { bandwidth: 200Gbps, latency: 1us } }\n";
    let fabric = fabric(yaml);
    for port in 0..8 {
        assert_eq!(fabric.plane_of(fabric.port_up(2, port)).map(|plane| u32::from(plane.0)), Some(port));
        assert_eq!(fabric.ends(fabric.port_up(2, port)).0, Point::Port { node: 2, port });
    }
}

#[test]
fn a_mistake_of_form_names_its_line() {
    refused("version: 1\nname: x\nnodes: two\n", &["line 3"]);
    refused(&tree(4, "spice: 2"), &["spice", "line 5"]);
    refused(&tree(4, "radix: 8").replace("400Gbps, latency: 600ns", "400, latency: 600ns"), &["Gbps", "line 4"]);
}

#[test]
fn all_mistakes_of_meaning_come_at_once_with_their_numbers() {
    let yaml = "version: 2\nname: x\nnodes: 0\nnode: { gpus: 8, nics: 3, nic: { bandwidth: 0GB/s, latency: 1us } }\n";
    let reasons = [
        "version: 2 is not known, this program reads 1",
        "nodes: 0 is too small",
        "node.within: is missing, it joins the GPUs of a node",
        "node.nic.bandwidth: 0MB/s must be greater than 0",
        "node.nics: 3 NICs and 8 GPUs do not go into each other",
        "hint: write within:",
    ];
    refused(yaml, &reasons);
}

#[test]
fn impossible_fabrics_are_refused_with_the_numbers() {
    refused(
        &tree(4096, "radix: 64"),
        &["network.radix: a spine needs 128 ports (128 leaves x 1 cables each), a switch has 64"],
    );
    refused(
        &tree(200_000, "radix: 64, layers: 3"),
        &["a core needs 196 ports (196 pods x 1 cables each), a switch has 64"],
    );
    refused(&tree(8, "radix: 8, hosts_per_switch: 6, uplinks: 3"), &["a leaf needs 9 ports (6 to hosts + 3 upwards)"]);
    refused(&tree(8, "hosts_per_switch: 4"), &["network.uplinks: 2 leaves and no uplinks"]);
    refused(
        &tree(8, "hosts_per_switch: 4, uplinks: 4, spines: 3"),
        &["network.spines: 3 must divide uplinks of a leaf 4"],
    );
    refused(&tree(4, "radix: 8, q: 5"), &["network.q: means nothing for kind fat_tree"]);
    refused(
        &tree(4, "radix: 8, planes: 2"),
        &["network.planes: 2 planes need a NIC port each, a node has 1 NICs x 1 ports = 1"],
    );
    refused(&tree(4, "radix: 8, oversubscription: 0.5"), &["network.oversubscription: 0.5 must be at least 1"]);
    refused(&tree(4, "radix: 8, layers: 4"), &["network.layers: 4 is neither 2 nor 3"]);
    refused("{ version: 1, name: x, nodes: 2, node: { gpus: 1 } }", &["network: is missing, so nothing joins 2 nodes"]);
    refused(&tree(4, "q: 6").replace("fat_tree", "slim_fly"), &["network.q: 6 is no prime power of the form"]);
    let too_many =
        tree(4, "group_switches: 2, global_links: 1, hosts_per_switch: 1, groups: 5").replace("fat_tree", "dragonfly");
    refused(&too_many, &["network.groups: 5 groups, but 2 switches x 1 global links of a group join at most 3"]);
    let no_room = tree(400, "q: 5, hosts_per_switch: 4").replace("fat_tree", "slim_fly");
    refused(&no_room, &["nodes: 400 hosts a plane, but the Slim Fly has room for 200 (50 switches x 4 hosts)"]);
}

#[test]
fn faults_that_cannot_be_are_refused() {
    let with = |fault: &str| format!("{}faults: [ '{fault}' ]\n", tree(4, "hosts_per_switch: 2, spines: 2"));
    refused(&with("plane=3"), &["faults: `plane=3` is not part of this fabric, which has 1 planes"]);
    refused(&with("nic=node9/0"), &["`nic=node9/0`", "4 nodes of 1 NICs"]);
    refused(&with("switch=leaf7"), &["`switch=leaf7`", "leaf1, spine1"]);
    refused(&with("link=l9s0.up"), &["`link=l9s0.up`", "h0.up"]);
    refused(&with("link=l0s0.up:x3"), &["3 must be greater than 0 and at most 1"]);
    refused(&with("everything"), &["`everything` is no fault: write plane=3"]);
    assert!(matches!(Fabric::parse(&with("link=l0*:x0.5")), Ok(fabric) if fabric.all_up()));
}

#[test]
fn a_slow_link_keeps_its_share_and_a_failed_switch_takes_its_links_down() {
    let spec = FabricSpec::parse(&tree(4, "hosts_per_switch: 2, spines: 2")).expect("a fabric");
    let whole = Fabric::new(&spec).expect("a fabric");
    let faults = ["link=l0s1.*:x0.5", "switch=leaf1"].map(|text| text.parse().expect("a fault"));
    let broken = whole.clone().with_faults(&faults).expect("parts of it");
    for (i, link) in whole.network().iter().enumerate() {
        let left = broken.network()[i].capacity / link.capacity;
        assert_eq!(left, if link.name.starts_with("l0s1") { 0.5 } else { 1.0 }, "{}", link.name);
        let of_leaf_1 = ["h2.", "h3.", "l1s"].iter().any(|name| link.name.starts_with(name));
        assert_eq!(broken.is_down(LinkId(i as u32)), of_leaf_1, "{}", link.name);
    }
    assert!(matches!(Fabric::new(&spec), Ok(fabric) if fabric.faults().is_empty()));
    assert!(!matches!(Fabric::parse(""), Err(FabricError::Impossible(_)) | Ok(_)));
}
