//! Drawings: well-formed, and without text over text.

use std::sync::Arc;

use ds_topology::draw::draw;
use ds_topology::fabric::{BUILT_IN, Fabric, built_in};
use ds_topology::routing::{FabricRoutes, Policy, all_to_all};
use roxmltree::{Document, Node};

const MORE: [&str; 2] = [
    "{ version: 1, name: slim-fly, nodes: 150, node: { gpus: 1, nics: 1, nic: { bandwidth: 400Gbps, latency: 1us } }, \
       network: { kind: slim_fly, q: 5, hosts_per_switch: 3, link: { bandwidth: 400Gbps, latency: 1us } } }",
    "{ version: 1, name: dragonfly, nodes: 1056, node: { gpus: 1, nics: 1, nic: { bandwidth: 400Gbps, latency: 1us } }, \
       network: { kind: dragonfly, radix: 16, link: { bandwidth: 400Gbps, latency: 1us } } }",
];

fn number(node: Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name} of {node:?}"))
}

/// Left, right, top and bottom of a text.
fn extent(text: Node<'_, '_>) -> (f64, f64, f64, f64) {
    let size = number(text, "font-size");
    let width = text.text().unwrap_or_default().chars().count() as f64 * size * 0.52;
    let (x, y) = (number(text, "x"), number(text, "y"));
    let left = match text.attribute("text-anchor") {
        Some("middle") => x - width / 2.0,
        Some("end") => x - width,
        _ => x,
    };
    (left, left + width, y - size * 0.8, y)
}

#[track_caller]
fn readable(name: &str, svg: &str) {
    let document = Document::parse(svg).unwrap_or_else(|error| panic!("{name}: {error}"));
    let root = document.root_element();
    let (width, height) = (number(root, "width"), number(root, "height"));
    let texts: Vec<Node<'_, '_>> = root.descendants().filter(|node| node.has_tag_name("text")).collect();
    assert!(texts.len() > 3, "{name}: {} texts", texts.len());
    for (i, text) in texts.iter().enumerate() {
        let (left, right, top, bottom) = extent(*text);
        assert!(left >= 0.0 && right <= width && top >= 0.0 && bottom <= height, "{name}: {text:?} is cut");
        for other in &texts[i + 1..] {
            let (other_left, other_right, other_top, other_bottom) = extent(*other);
            let apart = right <= other_left || other_right <= left || bottom <= other_top || other_bottom <= top;
            assert!(apart, "{name}: {:?} lies over {:?}", text.text(), other.text());
        }
    }
}

#[test]
fn every_fabric_is_drawn_with_no_text_over_another() {
    for (name, yaml) in BUILT_IN {
        readable(name, &draw(&Fabric::parse(yaml).expect("a fabric"), None));
    }
    for yaml in MORE {
        let fabric = Fabric::parse(yaml).expect("a fabric");
        readable(fabric.name(), &draw(&fabric, None));
    }
}

#[test]
fn load_and_faults_change_colours() {
    let fabric = Fabric::parse(built_in("h800-mpft-2048").expect("it comes with the program")).expect("a fabric");
    let lost = ["switch=spine1.p2".parse().expect("a fault")];
    let fabric = Arc::new(fabric.with_faults(&lost).expect("a switch"));
    let plain = draw(&fabric, None);
    assert!(plain.contains("stroke-dasharray"), "what is down is dashed");
    let mut loads = vec![0.0; fabric.network().len()];
    let busiest = "#b2182b";
    assert!(!plain.contains(busiest));
    let idle = draw(&fabric, Some(&loads));
    loads[0] = 1e9;
    let loaded = draw(&fabric, Some(&loads));
    assert!(loaded.matches(busiest).count() > idle.matches(busiest).count());
}

#[test]
fn all_to_all_loads_every_plane_alike_and_carries_every_byte() {
    let yaml = built_in("h800-mpft-2048").expect("it comes with the program").replace("nodes: 256", "nodes: 64");
    let fabric = Arc::new(Fabric::parse(&yaml).expect("a fabric"));
    let mut routes = FabricRoutes::new(fabric.clone(), Policy::Static);
    let loads = all_to_all(&mut routes, 1e9).expect("all are reached");
    let n = f64::from(fabric.n_gpus());
    let up = |node: u32, port: u32| loads[fabric.port_up(node, port).0 as usize];
    let sent: f64 = (0..64).flat_map(|node| (0..8).map(move |port| up(node, port))).sum();
    assert!((sent / (n * 1e9 * (n - 8.0) / (n - 1.0)) - 1.0).abs() < 1e-9, "{sent}");
    for plane in 1..8 {
        assert!((up(5, plane) / up(5, 0) - 1.0).abs() < 1e-9);
    }
}
