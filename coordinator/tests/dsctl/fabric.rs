//! Flows over a network.

use serde_json::json;

use crate::place::Place;

fn case(path: u32) -> String {
    json!({
        "name": "two",
        "weighting": "equal (pure max-min)",
        "platform": { "kind": "chain", "links": [["a", 100.0, 0.5]] },
        "flows": [[0, 1, 50.0, 0.0, 0.0, [], [path]], [0, 1, 150.0, 0.0, 0.0, [], [0]]],
    })
    .to_string()
}

#[test]
fn flows_end_when_they_have_had_their_share() {
    let place = Place::new();
    place.write("case.json", &case(0));
    let facts = place.facts(&["fabric", "flows", "case.json"]);
    assert_eq!(facts, json!({ "name": "two", "finish_s": [1.5, 2.5], "makespan_s": 2.5 }));
    let said = place.dsctl(&["fabric", "flows", "case.json"]);
    assert_eq!(said.stdout, "two: 2 flows, all ended after 2.500000000 s, 2.000000000 s in the mean\n");
}

#[test]
fn links_say_what_they_carry_and_whom_they_hold_back() {
    let place = Place::new();
    place.write("case.json", &case(0));
    let facts = place.facts(&["fabric", "flows", "case.json", "--links"]);
    assert_eq!(facts["links"], json!([{ "name": "a", "carried_bytes": 200.0, "busy_s": 2.0, "peak": 1.0 }]));
    assert_eq!(facts["held_by"], json!(["a", "a"]));
    let said = place.dsctl(&["fabric", "flows", "case.json", "--links"]).stdout;
    let line = "a: 200 bytes, at least 2.000000000 s, busy 2.000000000 s, peak 100.0%, holds 2 flows back at their end";
    assert_eq!(said.lines().nth(1), Some(line));
}

#[test]
fn flows_that_cannot_be_are_refused_with_their_numbers() {
    let place = Place::new();
    place.write("case.json", &case(7));
    let refused = place.dsctl(&["fabric", "flows", "case.json"]);
    refused.ended(64, &["case.json: flow 0 crosses link 7, but there are links 0 to 0"]);
    place.write("case.json", "{ \"name\": 3 }");
    place.dsctl(&["fabric", "flows", "case.json"]).ended(64, &["case.json: ", "line 1 column"]);
    place.dsctl(&["fabric", "flows", "absent.json"]).ended(64, &["absent.json", "hint: "]);
}

/// A sample of what a tool of a cluster prints.
fn sample(name: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("topology/tests/import").join(name).display().to_string()
}

#[test]
fn a_fabric_is_shown_with_its_counts_and_what_a_lost_plane_leaves() {
    let place = Place::new();
    let facts = place.facts(&["fabric", "show", "h800-mpft-2048"]);
    assert_eq!((&facts["endpoints"], &facts["switches"], &facts["links"]), (&json!(2048), &json!(96), &json!(2048)));
    let lost = place.facts(&["fabric", "show", "h800-mpft-2048", "--fault", "plane=3"]);
    assert_eq!(lost["faults"], json!(["plane=3:down"]));
    let left = lost["bisection"].as_f64().unwrap() / facts["bisection"].as_f64().unwrap();
    assert!((left - 7.0 / 8.0).abs() < 1e-12, "{left}");
    let page = place.dsctl(&["fabric", "show", "h800-mpft-2048"]).stdout;
    assert!(page.starts_with("h800-mpft-2048: multi plane fat tree on 8 planes\n"), "{page}");
    assert!(page.contains("cost        9.0 M $"), "{page}");
}

#[test]
fn all_mistakes_of_a_fabric_are_told_at_once() {
    let place = Place::new();
    place.write("bad.yaml", "version: 1\nname: bad\nnodes: 0\nnode: { gpus: 8 }\n");
    let checked = place.dsctl(&["fabric", "check", "bad.yaml"]);
    checked.ended(64, &["bad.yaml: nodes: 0 is too small", "node.within: is missing", "hint: write within:"]);
    place.write("odd.yaml", "version: 1\nname: odd\nnodes: 1\nnode: { gpus: 1, wings: 2 }\n");
    place.dsctl(&["fabric", "check", "odd.yaml"]).ended(64, &["odd.yaml: ", "wings", "line 4"]);
    place
        .dsctl(&["fabric", "check", "h900"])
        .ended(64, &["there is no fabric h900; there are ", "h800-node", "hint: "]);
    place.dsctl(&["fabric", "check", "absent.yaml"]).ended(64, &["cannot read absent.yaml"]);
    let wrong = place.dsctl(&["fabric", "check", "h800-mpft-2048", "--fault", "plane=9"]);
    wrong.ended(64, &["h800-mpft-2048: --fault `plane=9` is not part of this fabric, which has 8 planes"]);
}

#[test]
fn a_fabric_that_is_cut_in_two_is_refused_and_one_with_a_lost_plane_is_not() {
    let place = Place::new();
    let checked = place.dsctl(&["fabric", "check", "h800-mpft-2048", "--fault", "plane=3"]);
    checked.ended(0, &[]);
    assert!(checked.stdout.contains("2048 endpoints, 96 switches, 2048 cables; every GPU reaches every other"));
    let cut = place.dsctl(&["fabric", "check", "h800-mpft-2048", "--fault", "link=*.h5.up"]);
    cut.ended(64, &["no route from endpoint 40 to endpoint"]);
}

#[test]
fn the_papers_topology_table_is_compared() {
    let place = Place::new();
    let rows = place.facts(&["fabric", "compare"]);
    let switches: Vec<u64> = rows.as_array().unwrap().iter().map(|row| row["switches"].as_u64().unwrap()).collect();
    assert_eq!(switches, [96, 768, 5120, 1568, 16_352]);
    let table = place.dsctl(&["fabric", "compare"]).stdout;
    assert_eq!(table.lines().count(), 6, "{table}");
    let own = place.facts(&["fabric", "compare", "h800-mpft-2048", "h800-mrft-2048"]);
    assert_eq!(own[0]["links"], own[1]["links"]);
}

#[test]
fn a_fabric_is_drawn_with_the_load_of_all_to_all_or_of_a_file() {
    let place = Place::new();
    place.dsctl(&["fabric", "draw", "h800-node", "-o", "node.svg"]).ended(0, &["h800-node is drawn in node.svg"]);
    let plain = std::fs::read_to_string(place.path("node.svg")).unwrap();
    assert!(plain.starts_with("<svg ") && !plain.contains("busy for"), "{plain}");
    let loaded = ["fabric", "draw", "h800-node", "-o", "node.svg", "--load", "all-to-all"];
    place.dsctl(&loaded).ended(0, &[]);
    assert!(std::fs::read_to_string(place.path("node.svg")).unwrap().contains("busy for 6.250 ms"));
    place.write("load.json", "{ \"g0.nvo\": 160e9 }");
    place.dsctl(&["fabric", "draw", "h800-node", "-o", "node.svg", "--load", "load.json"]).ended(0, &[]);
    assert!(std::fs::read_to_string(place.path("node.svg")).unwrap().contains("busy for 1000.000 ms"));
    place.write("load.json", "{ \"g9.nvo\": 1 }");
    let wrong = place.dsctl(&["fabric", "draw", "h800-node", "-o", "node.svg", "--load", "load.json"]);
    wrong.ended(64, &["load.json: h800-node has no link g9.nvo"]);
    let routing = place.dsctl(&["fabric", "draw", "h800-node", "-o", "node.svg", "--routing", "luck"]);
    routing.ended(64, &["`luck` is no routing policy: write static, static-rail, ecmp"]);
}

#[test]
fn what_is_imported_can_be_checked() {
    let place = Place::new();
    for (kind, file) in [
        ("nvidia-smi", "nvidia-smi-h800.txt"),
        ("nccl", "nccl-h100.xml"),
        ("slurm", "slurm-three-tiers.conf"),
        ("kubernetes", "kubernetes-h100.json"),
    ] {
        let yaml = place.dsctl(&["fabric", "import", kind, &sample(file)]).stdout;
        assert!(yaml.starts_with("# Assumed: "), "{yaml}");
        place.write("own.yaml", &yaml);
        place.dsctl(&["fabric", "check", "own.yaml"]).ended(0, &[]);
    }
    let wrong = place.dsctl(&["fabric", "import", "nccl", &sample("slurm-two-tiers.conf")]);
    wrong.ended(64, &["slurm-two-tiers.conf: this is not NCCL's topology XML"]);
}
