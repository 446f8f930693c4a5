//! `simulate`: steps of a job on a fabric, before there is either.

use std::fs;

use serde_json::Value;

use crate::place::Place;

const FABRIC: &str = "\
version: 1
name: two nodes
nodes: 2
node:
  gpus: 4
  nics: 4
  within: { kind: nvlink, bandwidth: 160GB/s, latency: 1us }
  nic: { bandwidth: 400Gbps, latency: 1us }
network: { kind: multi_plane_fat_tree, planes: 4, radix: 8, link: { bandwidth: 400Gbps, latency: 400ns } }
";

/// Two stages of four expert ranks each.
fn place() -> Place {
    let place = Place::new();
    place.write("fabric.yaml", FABRIC);
    place
}

const JOB: [&str; 10] = [
    "simulate",
    "job.yaml",
    "--fabric",
    "fabric.yaml",
    "--hardware",
    "h800",
    "--set",
    "parallel.pipeline=2",
    "--set",
    "parallel.expert=4",
];

fn facts(place: &Place, more: &[&str]) -> Value {
    place.facts(&[&JOB, more].concat())
}

fn seconds(facts: &Value) -> f64 {
    facts["seconds"].as_f64().unwrap()
}

#[test]
fn a_step_is_the_sum_of_its_phases_and_none_is_shorter_than_its_bound() {
    let facts = facts(&place(), &[]);
    let phases = facts["phases"].as_array().unwrap();
    let of = |phase: &Value, what: &str| phase[what].as_f64().unwrap();
    let sum: f64 = phases.iter().map(|phase| of(phase, "seconds")).sum();
    assert!((sum - seconds(&facts)).abs() < 1e-9 * sum, "{facts:#}");
    for phase in phases {
        assert!(of(phase, "bound_seconds") <= of(phase, "seconds") * (1.0 + 1e-9), "{phase:#}");
        assert!(phase["bottleneck"].as_str().is_some_and(|name| !name.is_empty()), "{phase:#}");
    }
    assert_eq!(facts["ranks"], 8);
}

#[test]
fn reuse_changes_nothing() {
    let place = place();
    let (once, each) = (facts(&place, &[]), facts(&place, &["--no-reuse"]));
    assert!((seconds(&once) - seconds(&each)).abs() <= 1e-9 * seconds(&each));
    assert!(once["ranks_played"].as_u64() < each["ranks_played"].as_u64());
}

#[test]
fn a_lost_plane_a_straggler_and_skew_take_longer() {
    let place = place();
    let base = seconds(&facts(&place, &[]));
    for more in [
        &["--what-if", "plane=1:down@t=0"][..],
        &["--what-if", "plane=1:down@t=0", "--what-if", "plane=1:up@t=1ms"],
        &["--straggler", "rank=5:x1.5"],
        &["--skew", "zipf:1.5"],
    ] {
        assert!(seconds(&facts(&place, more)) > base, "{more:?}");
    }
}

#[test]
fn each_case_is_told_beside_the_base_as_if_it_were_asked_alone() {
    let place = place();
    let base = seconds(&facts(&place, &[]));
    let cases = ["plane=1:down@t=1ms", "nic=node0/2:down", "plane=1:down@t=1ms,plane=1:up@t=2ms"];
    let told = facts(&place, &["--or-if", cases[0], "--or-if", cases[1], "--or-if", cases[2]]);
    assert_eq!((seconds(&told), seconds(&told["what_if"]["base"])), (base, base));
    for (told, case) in told["what_if"]["cases"].as_array().unwrap().iter().zip(cases) {
        let events: Vec<&str> = case.split(',').flat_map(|event| ["--what-if", event]).collect();
        let alone = facts(&place, &events);
        assert_eq!(seconds(told), seconds(&alone), "{case}");
        assert_eq!(seconds(&alone["what_if"]["base"]), base);
        assert_eq!(told["delta_seconds"].as_f64().unwrap(), seconds(told) - base);
        assert!(told["evaluated_in_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    }
    let said = place.dsctl(&[&JOB[..], &["--what-if", cases[1], "--or-if", cases[2]]].concat());
    said.ended(0, &[]);
    for words in ["WHAT IF", "EVALUATED IN", "nic=node0/2:down", "plane=1:up@t=0.002s"] {
        assert!(said.stdout.contains(words), "{words:?} is missing in\n{}", said.stdout);
    }
}

#[test]
fn the_trace_has_ranks_streams_and_planes() {
    let place = place();
    facts(&place, &["--trace", "trace.json"]);
    let trace: Value = serde_json::from_str(&fs::read_to_string(place.path("trace.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let named = |what: &str, name: &str| {
        events
            .iter()
            .any(|event| event["name"] == what && event["args"]["name"].as_str().is_some_and(|n| n.starts_with(name)))
    };
    assert!(named("process_name", "rank 0") && named("thread_name", "exchange"));
    assert!(events.iter().any(|event| event["ph"] == "C" && event["name"] == "plane 3"));
    assert!(events.iter().any(|event| event["ph"] == "X" && event["dur"].as_f64().is_some_and(|us| us > 0.0)));
}

#[test]
fn the_page_stands_alone_and_says_what_was_asked() {
    let place = place();
    facts(&place, &["--html", "run.html", "--what-if", "plane=1:down@t=1ms"]);
    let page = fs::read_to_string(place.path("run.html")).unwrap();
    for words in ["<svg", "plane 3", "plane=1:down@t=0.001s", "bound by"] {
        assert!(page.contains(words), "{words:?} is missing");
    }
    assert!(!page.contains("http://") || page.contains("http://www.w3.org"), "it needs no network");
}

#[test]
fn a_slow_plane_is_named_as_what_binds() {
    let place = place();
    let whole = facts(&place, &[]);
    assert!(whole["blame"].is_null());
    let lost = facts(&place, &["--what-if", "plane=1:x0.0001@t=1ms"]);
    let event = "plane=1:x0.0001@t=0.001s";
    assert!(lost["verdict"].as_str().unwrap().starts_with(&format!("{event} makes it ")), "{lost:#}");
    let longer = seconds(&lost) - seconds(&whole);
    assert!((lost["blame"]["longer_seconds"].as_f64().unwrap() - longer).abs() < 1e-12);
    let phases = lost["phases"].as_array().unwrap();
    assert!(phases.iter().any(|phase| phase["bottleneck"] == event), "{lost:#}");
    let sum: f64 = lost["blame"]["phases"].as_array().unwrap().iter().map(|phase| phase[1].as_f64().unwrap()).sum();
    assert!((sum - longer).abs() < 1e-9 * seconds(&lost), "the phases add up to what it takes longer");
}

#[test]
fn causes_are_left_out_one_by_one_and_none_makes_a_step_longer() {
    let place = place();
    let overlapped = ["--set", "parallel.schedule=dualpipe", "--set", "train.0.batch=32"];
    let all = seconds(&facts(&place, &overlapped));
    for cause in ["sends", "contention", "skew", "copies"] {
        let without = facts(&place, &[&overlapped[..], &["--without", cause]].concat());
        assert!(seconds(&without) < all, "{cause} costs nothing");
    }
}

#[test]
fn it_says_in_words_what_binds() {
    let said = place().dsctl(&JOB);
    said.ended(0, &[]);
    for words in [" a step", "bound by", "BUSIEST LINK", "forward"] {
        assert!(said.stdout.contains(words), "{words:?} is missing in\n{}", said.stdout);
    }
}

#[test]
fn a_trace_of_chakra_is_played_in_place_of_a_step() {
    let place = place();
    for rank in 0..2 {
        let node =
            r#"{"nodes":[{"id":1,"name":"sum","type":"COMM_COLL_NODE","comm_type":"ALL_REDUCE","comm_size":1000000}]}"#;
        place.write(&format!("run.{rank}.json"), node);
    }
    let facts =
        place.facts(&["simulate", "--fabric", "fabric.yaml", "--chakra", "run.0.json", "--chakra", "run.1.json"]);
    // Two steps of half of the buffer over NVLink.
    let expected = 2.0 * (500_000.0 / 160e9 + 2e-6);
    assert!((seconds(&facts) - expected).abs() < 1e-9 * expected, "{facts:#}");
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let place = place();
    let refused = |more: &[&str], words: &[&str]| {
        place.dsctl(&[&JOB, more].concat()).ended(64, words);
    };
    refused(&["--what-if", "plane=9:down@t=1s"], &["plane=9", "4 planes"]);
    refused(&["--what-if", "plane=1:up@t=1s"], &["plane=1", "has not failed before"]);
    refused(&["--what-if", "plane=1:down@noon"], &["t=2s"]);
    refused(&["--straggler", "rank=99:x2"], &["rank 99", "ranks 0 to 7"]);
    refused(&["--skew", "heavy"], &["zipf:1.2"]);
    refused(&["--without", "fill"], &["fill", "dsctl plan --without fill"]);
    refused(&["--set", "parallel.data=8", "--set", "cluster.share_devices=false"], &["16 ranks", "8 endpoints"]);
    place.dsctl(&["simulate", "job.yaml"]).ended(64, &["no fabric", "--fabric"]);
    place.dsctl(&["simulate", "--fabric", "fabric.yaml"]).ended(64, &["<FILE>"]);
}

/// Ranks 0 and 4, on two nodes, compute, exchange and compute again; the others do nothing.
fn recorded(bytes: u32) -> String {
    let piece = r#"{"stage":0,"microbatch":0,"pass":"Forward"}"#;
    let compute = |after: &str, part: u32| {
        format!(r#"{{"action":0,"piece":{piece},"after":[{after}],"does":{{"Compute":{{"part":{part},"load":1.0}}}}}}"#)
    };
    let of = |other: u32| {
        let meet = format!(r#"{{"Meet":{{"group":0,"number":0,"what":"Dispatch","sends":[[{other},{bytes}]]}}}}"#);
        let meet = format!(r#"{{"action":0,"piece":{piece},"after":[0],"does":{meet}}}"#);
        format!("[{},{meet},{}]", compute("", 0), compute("1", 1))
    };
    format!(r#"{{"groups":[[0,4]],"ranks":[{},[],[],[],{},[],[],[]]}}"#, of(4), of(0))
}

#[test]
fn a_recorded_step_is_played_on_the_fabric_and_says_what_planes_carried() {
    let place = place();
    place.write("step.json", &recorded(50_000_000));
    place.write("longer.json", &recorded(100_000_000));
    let of = |file: &str| facts(&place, &["--recorded", file]);
    let (first, again, longer) = (of("step.json"), of("step.json"), of("longer.json"));
    assert_eq!(first, again);
    let seconds = |facts: &Value| facts["step_seconds"].as_f64().unwrap();
    // Another 50 MB over 50 GB/s.
    assert!((seconds(&longer) - seconds(&first) - 1e-3).abs() < 1e-9, "{first} {longer}");
    let planes = first["planes"].as_array().unwrap();
    assert_eq!(planes.len(), 4);
    let bytes: f64 = planes.iter().map(|plane| plane["bytes"].as_f64().unwrap()).sum();
    assert!((bytes - 2.0 * 50e6).abs() < 1.0, "{first}");
    let said = place.dsctl(&[&JOB[..], &["--recorded", "step.json", "--trace", "trace.json"]].concat());
    said.ended(0, &[]);
    assert!(said.stdout.contains("recorded step of 8 ranks") && said.stdout.contains("plane 3"), "{}", said.stdout);
    place.write("alone.json", &recorded(1).replace("[[0,4]]", "[[0,4,5]]"));
    let refused = place.dsctl(&[&JOB[..], &["--recorded", "alone.json"]].concat());
    refused.ended(64, &["operation 0 of group 0: rank 5 never comes to it, rank 0 does"]);
    place.write("none.json", "{}");
    place.dsctl(&[&JOB[..], &["--recorded", "none.json"]].concat()).ended(64, &["none.json"]);
}

#[test]
fn what_a_planned_step_would_record_takes_as_long_when_it_is_played() {
    let place = place();
    let planned = facts(&place, &["--record", "step.json", "--skew", "zipf:1.1"]);
    let replayed = facts(&place, &["--recorded", "step.json"]);
    let again = replayed["step_seconds"].as_f64().unwrap();
    assert!((again / seconds(&planned) - 1.0).abs() < 1e-9, "{planned} {replayed}");
    // 64 ranks on eight planes.
    let job = format!("{}/../deploy/jobs/simulated-64.yaml", env!("CARGO_MANIFEST_DIR"));
    let planned = place.facts(&["simulate", &job, "--record", "step-64.json"]);
    let replayed = place.facts(&["simulate", &job, "--recorded", "step-64.json"]);
    let again = replayed["step_seconds"].as_f64().unwrap();
    assert!((again / seconds(&planned) - 1.0).abs() < 1e-9, "{planned} {replayed}");
    assert_eq!((replayed["ranks"].as_u64(), replayed["planes"].as_array().unwrap().len()), (Some(64), 8));
}
