//! Flow simulations as JSON: what is read, what is refused and how.

use std::path::{Path, PathBuf};

use ds_topology::flow::Case;
use serde_json::{Value, json};

/// Two links and three flows, the last after the first with a delay, and one that only takes time.
fn case() -> Value {
    json!({
        "name": "small",
        "weighting": "equal (pure max-min)",
        "platform": { "kind": "abstract", "links": [["a", 10.0, 0.5], ["b", 4, 0]] },
        "flows": [
            [0, 1, 20, 0.0, 0.0, [], [0]],
            [0, 1, 8, 1.0, 0.0, [], [1]],
            [1, 0, 10, 0.0, 0.25, [0, 3], [0]],
            [1, 1, 0, 0.5, 1.0, [], []]
        ]
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut case = case();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = case.pointer_mut(parent).expect("a part of the case");
    match parent {
        Value::Array(items) => items[key.parse::<usize>().expect("a place")] = value,
        parent => parent[key] = value,
    }
    case
}

fn finish(case: &Value) -> Vec<f64> {
    let case = Case::parse(case.to_string().as_bytes()).expect("it reads");
    case.run().expect("it can be simulated").finish
}

fn refused(case: &Value) -> String {
    match Case::parse(case.to_string().as_bytes()) {
        Ok(case) => case.run().expect_err("it cannot be").to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn deps_delays_and_flows_without_a_path_are_read() {
    // The third is due at 2.5, when the first has ended; its first byte arrives 0.75 later.
    assert_eq!(finish(&case()), [2.5, 3.0, 4.25, 1.5]);
}

#[test]
fn links_change_by_number_or_name_and_flows_change_their_path() {
    let failed = json!([
        { "at_s": 2.0, "link": "b", "bytes_per_s": 0 },
        { "at_s": 6.0, "link": 1, "bytes_per_s": 8 }
    ]);
    assert_eq!(finish(&with("/changes", failed))[1], 6.5);
    let other = json!([{ "at_s": 2.0, "flow": 1, "path": ["a"] }]);
    // From 2.0 on both share the first link: 5 and 4 are left, at 5 each.
    assert_eq!(finish(&with("/changes", other))[..2], [2.9, 2.8]);
    assert_eq!(finish(&with("/limits", json!([[0, 5.0]])))[0], 4.5);
}

#[test]
fn what_cannot_be_has_one_error_with_its_numbers() {
    let cases = [
        ("/flows/1/6", json!([7]), "flow 1 crosses link 7, but there are links 0 to 1"),
        ("/flows/1/5", json!([4]), "flow 1 waits for flow 4, but there are flows 0 to 3"),
        ("/flows/0/5", json!([2]), "flows wait for each other in a circle: 0 -> 2 -> 0"),
        ("/flows/1/5", json!([1]), "flows wait for each other in a circle: 1 -> 1"),
        ("/flows/1/2", json!(-1), "bytes of flow 1 is -1: it must be finite and not negative"),
        ("/flows/1/3", json!(-0.5), "start of flow 1 is -0.5: it must be finite and not negative"),
        ("/flows/1/4", json!(-2), "delay of flow 1 is -2: it must be finite and not negative"),
        ("/platform/links/1", json!(["b", 0, 0]), "capacity of link 1 is 0: it must be finite and greater than 0"),
        ("/platform/links/1", json!(["b", 1, -1]), "latency of link 1 is -1: it must be finite and not negative"),
        ("/limits", json!([[9, 1.0]]), "limits: flow 9 is not there: there are 4 flows, counted from 0"),
        ("/limits", json!([[1, 0]]), "limit of flow 1 is 0: it must be greater than 0"),
        ("/changes", json!([{ "at_s": 1, "link": "c", "bytes_per_s": 1 }]), "change 0: no link is called `c`"),
        (
            "/changes",
            json!([{ "at_s": 1, "link": 0, "bytes_per_s": 0 }]),
            "flow 0 never ends: link 0 gives it nothing from 1 s on, and no change comes after that; 2 of 4 flows do not \
             end",
        ),
        ("/weighting", json!("fair"), "weighting `fair` is not known; it begins with `equal` or `1/path_latency`"),
        ("/flows", Value::Null, "the case has neither `flows` nor a `generator`"),
    ];
    for (pointer, value, expected) in cases {
        assert_eq!(refused(&with(pointer, value)), expected);
    }
}

#[test]
fn what_does_not_read_is_refused_with_its_place() {
    for (pointer, value) in [
        ("/flows/1", json!([0, 1, 8])),
        ("/flows/1/6", json!([-1])),
        ("/flows/1/2", json!("much")),
        ("/changes", json!([{ "at_s": 1, "link": 0 }])),
        ("/platform/links/0", json!(["a", 1])),
    ] {
        let error = refused(&with(pointer, value));
        assert!(error.contains("at line 1 column"), "{error}");
    }
}

/// All cases with `SIM_CASES=DIR`; without, those that are kept here.
fn folder() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    std::env::var_os("SIM_CASES").map_or(own, PathBuf::from)
}

/// A platform of this kind with all ordered pairs, from the file of a case that lists them.
fn generated(name: &str, params: &Value) -> Value {
    let text = std::fs::read(folder().join(name)).expect("a case can be read");
    let mut case: Value = serde_json::from_slice(&text).expect("JSON");
    case["generator"] = json!({ "pattern": "all ordered pairs", "bytes": 1048576, "start_s": 0.0 });
    case.as_object_mut().expect("a case").remove("flows");
    for (name, value) in params.as_object().into_iter().flatten() {
        case["platform"]["params"][name] = value.clone();
    }
    case
}

/// Every flow that a case lists goes over the links that its generator would choose.
#[test]
fn generators_choose_the_paths_that_cases_list() {
    let mut kinds: Vec<String> = Vec::new();
    for file in std::fs::read_dir(folder()).expect("cases").flatten() {
        let name = file.file_name().into_string().expect("a name");
        // Dispatch and combine have paths of their own: fused ones, and those that begin or end within a node.
        if !name.ends_with("json") || name.contains("fused") || name.contains("dedup") {
            continue;
        }
        let listed: Value = serde_json::from_slice(&std::fs::read(file.path()).expect("a case")).expect("JSON");
        let rows = listed["flows"].as_array().into_iter().flatten();
        let rows: Vec<&Value> = rows.filter(|row| row[6] != json!([])).collect();
        let kind = listed["platform"]["kind"].as_str().expect("a kind").to_owned();
        if rows.is_empty() || kind.starts_with("abstract") || kind == "chain" {
            continue;
        }
        let made = Case::parse(generated(&name, &json!({})).to_string().as_bytes()).expect("it reads");
        let flows = made.flows().unwrap_or_else(|error| panic!("{name}: {error}"));
        // All ordered pairs of n endpoints are n times n - 1.
        let n = (1..).find(|n| n * (n - 1) == flows.len()).expect("pairs");
        for row in rows {
            let number = |place: usize| row[place].as_u64().expect("an endpoint") as usize;
            let (s, d) = (number(0), number(1));
            let path: Vec<u32> = flows[s * (n - 1) + d - usize::from(d > s)].path.iter().map(|link| link.0).collect();
            assert_eq!(json!(path), row[6], "{name}: {s} to {d}");
        }
        kinds.push(kind);
    }
    for kind in ["star", "fat_tree_2l", "fat_tree_3l", "mpft", "slim_fly", "dragonfly"] {
        assert!(kinds.iter().any(|known| known == kind), "{kind} is not among {kinds:?}");
    }
}

#[test]
fn generators_by_pass_what_has_failed_and_refuse_what_does_not_fit() {
    let mpft = "030-mpft-a2a-32.json";
    let lost = json!({ "failed_planes": [3], "failed_nics": [[0, 5]], "failed": ["P1.l0s0.up"] });
    let case = Case::parse(generated(mpft, &lost).to_string().as_bytes()).expect("it reads");
    let network = case.network();
    for flow in case.flows().expect("paths are left") {
        for link in &flow.path {
            let name = &network[link.0 as usize].name;
            assert!(!name.starts_with("P3.") && !name.starts_with("P5.h0.") && name != "P1.l0s0.up", "{name}");
        }
    }
    for (params, expected) in [
        (json!({ "nodes_per_leaf": 0 }), "platform.params: nodes_per_leaf must be given and greater than 0"),
        (json!({ "nodes": 6 }), "platform.links has no link `g32.nvo`, which a mpft of these platform.params has"),
    ] {
        assert_eq!(refused(&generated(mpft, &params)), expected);
    }
    for params in [json!({ "failed": ["P9.h0.up"] }), json!({ "planes": 9 }), json!({ "nodes": "many" })] {
        let error = refused(&generated(mpft, &params));
        assert!(error.starts_with("platform.params: "), "{error}");
    }
    let mut unknown = generated(mpft, &json!({}));
    unknown["platform"]["kind"] = json!("torus");
    assert!(refused(&unknown).starts_with("platform.kind `torus` has no rule that makes paths"));
}
