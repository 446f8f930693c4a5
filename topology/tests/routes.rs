//! Static routes against the paths that reference cases list, link by link.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ds_topology::fabric::{Fabric, FabricSpec, Fault};
use ds_topology::routing::{FabricRoutes, Policy};
use ds_topology::{EndpointId, Routes};
use serde_json::Value;

/// All cases with `SIM_CASES=DIR`; without, those that are kept here.
fn folders() -> Vec<PathBuf> {
    let own = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let cases = std::env::var_os("SIM_CASES").map_or(own("tests/cases"), PathBuf::from);
    vec![cases, own("tests/routes")]
}

#[test]
fn static_routes_cross_the_links_that_the_cases_list() {
    let mut n_paths: HashMap<String, usize> = HashMap::new();
    for folder in folders() {
        let files = std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path());
        for path in files.filter(|path| path.extension().is_some_and(|e| e == "json")) {
            let case: Value = serde_json::from_slice(&std::fs::read(&path).expect("a case")).expect("JSON");
            let platform = case.get("platform").unwrap_or(&case);
            // Dispatch that is fused goes by the sender's NIC and is handed on at the receiver.
            let fused = path.to_string_lossy().contains("fused");
            let Some(yaml) = yaml(platform, !fused) else { continue };
            let mut routes = routes(&yaml, &platform["params"]);
            let kind = platform["kind"].as_str().expect("a kind");
            for (from, to, expected) in paths(&case, platform) {
                let found = one_path(&mut routes, from, to);
                assert_eq!(found, expected, "{}: from {from} to {to}", path.display());
                *n_paths.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }
    for kind in ["fat_tree_2l", "fat_tree_3l", "mpft", "mrft", "slim_fly", "dragonfly"] {
        assert!(n_paths.get(kind).is_some_and(|n| *n > 100), "{kind}: {n_paths:?}");
    }
}

fn one_path(routes: &mut FabricRoutes, from: u32, to: u32) -> Vec<String> {
    let mut found = Vec::new();
    let mut give = |share: f64, path: &[_]| found.push((share, path.to_vec()));
    routes.paths(EndpointId(from), EndpointId(to), 0, &mut give).expect("a path is left");
    let [(1.0, path)] = &found[..] else { panic!("{found:?} is one path") };
    path.iter().map(|link| routes.network()[link.0 as usize].name.clone()).collect()
}

/// Every message with its links by name.
fn paths(case: &Value, platform: &Value) -> Vec<(u32, u32, Vec<String>)> {
    let number = |value: &Value| value.as_u64().expect("an endpoint") as u32;
    let rows = |name| case.get(name).and_then(Value::as_array).into_iter().flatten();
    let by_name = |row: &Value| {
        let names = row[2].as_str().expect("names").split(' ').map(str::to_owned);
        (number(&row[0]), number(&row[1]), names.collect())
    };
    let by_number = |row: &Value| {
        let name = |link: &Value| platform["links"][number(link) as usize][0].as_str().expect("a name").to_owned();
        let path: Vec<String> = row[6].as_array().expect("a path").iter().map(name).collect();
        (!path.is_empty()).then(|| (number(&row[0]), number(&row[1]), path))
    };
    rows("paths").map(by_name).chain(rows("flows").filter_map(by_number)).collect()
}

fn routes(yaml: &str, params: &Value) -> FabricRoutes {
    let spec = FabricSpec::parse(yaml).unwrap_or_else(|error| panic!("{yaml}\n{error}"));
    let fabric = Fabric::new(&spec).unwrap_or_else(|error| panic!("{yaml}\n{error}"));
    let list = |name: &str| params.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let links = list("failed").into_iter().map(|link| format!("link={}", link.as_str().expect("a name")));
    let nics = list("failed_nics").into_iter().map(|nic| format!("nic=node{}/{}", nic[0], nic[1]));
    let degraded = params.get("degraded").and_then(Value::as_object).cloned().unwrap_or_default();
    let slow = degraded.into_iter().map(|(link, factor)| format!("link={link}:x{factor}"));
    let faults = links.chain(nics).chain(slow).map(|text| text.parse().expect("a fault"));
    let fabric = fabric.with_faults(&faults.collect::<Vec<Fault>>()).expect("parts of the fabric");
    FabricRoutes::new(fabric, Policy::Static)
}

/// The sizes of a case as a fabric; none for cases that are no fabric.
fn yaml(platform: &Value, pxn: bool) -> Option<String> {
    let p = &platform["params"];
    let rate =
        |name: &str| format!("{}GB/s", p.get(name).or(p.get("nic_Bps")).and_then(Value::as_f64).unwrap_or(1e9) / 1e9);
    let nic = format!("nic: {{ bandwidth: {}, latency: 600ns }}", rate("nic_Bps"));
    let link = |name| format!("link: {{ bandwidth: {}, latency: 400ns }}", rate(name));
    let within = format!("within: {{ bandwidth: {}, latency: 500ns }}", rate("nvlink_Bps"));
    let alone = format!("node: {{ gpus: 1, nics: 1, {nic} }}");
    let (nodes, node, network) = match platform["kind"].as_str()? {
        "fat_tree_2l" => {
            let sizes = format!("hosts_per_switch: {}, spines: {}", p["hosts_per_leaf"], p["spines"]);
            (p["hosts"].clone(), alone, format!("kind: fat_tree, {sizes}, {}", link("uplink_Bps")))
        }
        "fat_tree_3l" => {
            let core = format!("core_{}", link("agg_core_Bps"));
            let sizes = format!("layers: 3, radix: {}, hosts_per_switch: {}", p["k"], p["k"].as_u64()? / 2);
            let half = p["k"].as_u64()? / 2;
            let sizes = format!("{sizes}, uplinks: {half}, core_uplinks: {half}");
            (p["hosts"].clone(), alone, format!("kind: fat_tree, {sizes}, {}, {core}", link("leaf_agg_Bps")))
        }
        "mpft" => {
            let sizes = format!("hosts_per_switch: {}, spines: {}", p["nodes_per_leaf"], p["spines_per_plane"]);
            let node = format!("node: {{ gpus: {0}, {within}, nics: {0}, {nic} }}", p["gpus_per_node"]);
            let sizes = format!("planes: {}, {sizes}, pxn: {pxn}", p["planes"]);
            let network = format!("kind: multi_plane_fat_tree, {sizes}, {}", link("uplink_Bps"));
            (p["nodes"].clone(), node, network)
        }
        "mrft" => {
            let sizes =
                format!("hosts_per_switch: {}, spines: {}, pxn: {}", p["nodes_per_leaf"], p["spines"], p["pxn"]);
            let node = format!("node: {{ gpus: {0}, {within}, nics: {0}, {nic} }}", p["rails"]);
            (p["nodes"].clone(), node, format!("kind: multi_rail_fat_tree, {sizes}, {}", link("uplink_Bps")))
        }
        "slim_fly" => {
            let sizes = format!("q: {}, hosts_per_switch: {}", p["q"], p["concentration"]);
            (platform["endpoints"].clone(), alone, format!("kind: slim_fly, {sizes}, {}", link("link_Bps")))
        }
        "dragonfly" => {
            let sizes = format!("group_switches: {}, global_links: {}, groups: {}", p["a"], p["h"], p["groups"]);
            let sizes = format!("{sizes}, hosts_per_switch: {}", p["concentration"]);
            (platform["endpoints"].clone(), alone, format!("kind: dragonfly, {sizes}, {}", link("link_Bps")))
        }
        _ => return None,
    };
    Some(format!("version: 1\nname: case\nnodes: {nodes}\n{node}\nnetwork: {{ {network} }}\n"))
}
