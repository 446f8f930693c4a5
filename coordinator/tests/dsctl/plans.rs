//! `dsctl plan`: what it says before anything starts.

use std::fs;

use serde_json::Value;

use crate::place::{Place, quickstart};

#[test]
fn a_plan_says_whether_it_fits_how_long_a_step_takes_and_what_binds() {
    let place = Place::new();
    let facts = place.facts(&["plan", &quickstart()]);
    let forecast = &facts["forecast"];
    assert_eq!(forecast["hardware"], "CPU");
    assert_eq!(forecast["memory"]["fits"], true);
    let parts = forecast["step"]["parts"].as_array().unwrap();
    let sum: f64 = parts.iter().map(|part| part["seconds"].as_f64().unwrap()).sum();
    assert!((sum / forecast["step"]["seconds"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{forecast}");
    let said = place.dsctl(&["plan", &quickstart()]);
    for words in ["forecast for 4 CPU", "a step", "MFU", "GPU hours", "binds", "assumed"] {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
}

#[test]
fn a_price_and_tokens_make_the_cost() {
    let place = Place::new();
    let facts = place.facts(&["plan", &quickstart(), "--hardware", "h100", "--price", "2.5", "--tokens", "3B"]);
    let training = &facts["forecast"]["training"];
    assert_eq!((training["tokens"].as_f64(), training["dollars_per_gpu_hour"].as_f64()), (Some(3e9), Some(2.5)));
    let ratio = training["dollars"].as_f64().unwrap() / training["gpu_hours"].as_f64().unwrap();
    assert!((ratio - 2.5).abs() < 1e-9, "{training}");
}

#[test]
fn a_search_ranks_layouts_and_the_first_is_no_slower_than_the_job() {
    let place = Place::new();
    let arguments = ["plan", &quickstart(), "--search"];
    let facts = place.facts(&arguments);
    let search = &facts["search"];
    let first = search["ranked"][0]["step_seconds"].as_f64().unwrap();
    assert!(first <= facts["forecast"]["step"]["seconds"].as_f64().unwrap() * (1.0 + 1e-12));
    let rejected: u64 = search["rejected"].as_array().unwrap().iter().map(|r| r["count"].as_u64().unwrap()).sum();
    let ranked = search["ranked"].as_array().unwrap().len() as u64;
    assert_eq!(search["enumerated"].as_u64(), Some(ranked + rejected));
    // The flags that it prints are taken, and give that step.
    let flags = search["flags"].as_str().unwrap().to_owned();
    let taken: Vec<&str> = ["plan"].into_iter().chain([arguments[1]]).chain(flags.split(' ')).collect();
    assert_eq!(place.facts(&taken)["forecast"]["step"]["seconds"].as_f64(), Some(first));
}

#[test]
fn a_page_and_a_picture_are_written_and_need_no_network() {
    let place = Place::new();
    place.dsctl(&["plan", &quickstart(), "--html", "plan.html", "--svg", "plan.svg"]).ended(0, &["wrote plan.html"]);
    place.dsctl(&["plan", &quickstart(), "--search", "--pictures", "pictures"]).ended(0, &[]);
    let pictures = ["pictures/step.svg", "pictures/memory.svg", "pictures/schedule.svg", "pictures/search.svg"];
    for file in ["plan.html", "plan.svg"].into_iter().chain(pictures) {
        let text = fs::read_to_string(place.path(file)).unwrap().replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http") && text.contains("<svg"), "{file}");
    }
}

#[test]
fn all_schedules_stand_beside_each_other_and_what_cannot_be_says_why() {
    let place = Place::new();
    let asked = ["plan", &quickstart(), "--set", "parallel.pipeline=2", "--schedules"];
    let facts = place.facts(&asked);
    let all = facts["schedules"].as_array().unwrap();
    assert_eq!(all.len(), 9);
    for one in all {
        let (fares, refused) = (&one["fares"], &one["refused"]);
        assert!(fares.is_null() != refused.is_null(), "{one}");
        let drawn = one["drawing"].as_str().is_some_and(|drawing| drawing.lines().count() == 2);
        assert_eq!(drawn, refused.is_null(), "{one}");
    }
    assert_eq!(all.iter().filter(|one| one["own"] == true).count(), 1);
    let said = place.dsctl(&[&asked[..], &["--svg", "all.svg", "--pictures", "each"]].concat());
    said.ended(0, &["wrote all.svg", "wrote each/schedule-1f1b.svg"]);
    for words in ["sends ahead", "the job's own", "the fastest that fits", "zb_v"] {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
    for file in ["all.svg", "each/schedule-zb_h1.svg"] {
        assert!(fs::read_to_string(place.path(file)).unwrap().contains("<svg"), "{file}");
    }
    place.dsctl(&["plan", &quickstart(), "--schedules", "--search"]).ended(64, &[]);
}

#[test]
fn machines_that_are_not_known_or_too_small_are_refused_with_what_there_is() {
    let place = Place::new();
    let plan = |more: &[&str]| place.dsctl(&[&["plan", &quickstart()], more].concat());
    plan(&["--hardware", "abacus"]).ended(64, &["there is no hardware abacus; there are A100", "hint: "]);
    plan(&["--fabric", "nowhere"]).ended(64, &["there is no fabric nowhere"]);
    plan(&["--fabric", "laptop", "--set", "parallel.data=4"])
        .ended(64, &["fabric laptop has 4 GPUs, the job needs 8", "hint: "]);
    plan(&["--tokens", "many"]).ended(64, &["write a number such as 300B"]);
    place.write("calibration.json", "{}");
    plan(&["--calibration", "calibration.json"]).ended(64, &["calibration.json is no calibration"]);
}

#[test]
fn published_runs_are_judged_without_a_job() {
    let place = Place::new();
    place.write("rows.csv", "a,a\n1,2\n");
    place.dsctl(&["plan", "--rows", "rows.csv"]).ended(64, &["rows.csv: rows: column a is there twice"]);
    place.dsctl(&["plan", "--rows", "rows.csv", "job.yaml"]).ended(64, &[]);
    place.dsctl(&["plan"]).ended(64, &[]);
}

/// The folder of a run that workers recorded.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dsctl/recorded");

#[test]
fn a_calibration_from_a_recorded_run_is_what_plan_and_simulate_take() {
    let place = Place::new();
    let job = format!("{RECORDED}/job.yaml");
    place.dsctl(&["calibrate", RECORDED, "--out", "machine.json"]).ended(0, &[]);
    let calibrated = place.facts(&["plan", &job, "--calibration", "machine.json"]);
    // What the run booked in the median of its steps, the first two apart.
    let steps: Vec<Value> = fs::read_to_string(format!("{RECORDED}/metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["kind"] == "step")
        .skip(2)
        .collect();
    let median = |cause: &str| {
        let mut all: Vec<f64> =
            steps.iter().map(|step| step["seconds_by_cause"][cause].as_f64().unwrap_or(0.0)).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    for (cause, parts) in [("compute", &["compute", "recompute", "launch"][..]), ("exchange", &["exchange"])] {
        let parts = calibrated["forecast"]["step"]["parts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|part| parts.contains(&part["name"].as_str().unwrap()));
        let forecast: f64 = parts.map(|part| part["seconds"].as_f64().unwrap()).sum();
        assert!((forecast / median(cause) - 1.0).abs() < 1e-3, "{cause}: {forecast} of {}", median(cause));
    }

    let simulated = |more: &[&str]| {
        let said = place.facts(&[&["simulate", &job, "--fabric", "laptop"], more].concat());
        said["seconds"].as_f64().unwrap()
    };
    assert_ne!(simulated(&["--calibration", "machine.json"]), simulated(&[]));
    place
        .dsctl(&["simulate", &job, "--calibration", "machine.json", "--hardware", "cpu"])
        .ended(64, &["--calibration"]);
}

#[test]
fn the_rows_of_a_preset_give_it_again() {
    let place = Place::new();
    let rows = |file: &str| format!("{}/forecast/tests/rows/{file}.csv", env!("CARGO_MANIFEST_DIR"));
    let fitted = place.facts(&["calibrate", "--rows", &rows("published"), "--hardware", "gb200"]);
    let share = fitted["grouped_efficiency"].as_f64().unwrap();
    let preset = ds_forecast::hardware::hardware("GB200").unwrap().grouped_efficiency;
    assert!((share / preset - 1.0).abs() < 2e-3, "{share} of {preset}");
    place.write("few.csv", "id,group\n");
    place.dsctl(&["calibrate", "--rows", "few.csv", "--hardware", "gb200"]).ended(64, &["names 1 rows, of which"]);
}

#[test]
fn causes_are_listed_with_their_sources_and_can_be_left_out() {
    let place = Place::new();
    let of = |more: &[&str]| place.facts(&[&["plan", &quickstart()], more].concat())["forecast"].clone();
    let (all, less) = (of(&[]), of(&["--without", "fill,sends"]));
    assert_eq!(all["terms"].as_array().unwrap().len(), 7);
    for (with, without) in all["terms"].as_array().unwrap().iter().zip(less["terms"].as_array().unwrap()) {
        assert!(with["counted"] == true && with["source"].as_str().unwrap().len() > 10, "{with}");
        let left_out = ["fill", "sends"].contains(&without["term"].as_str().unwrap());
        assert_eq!(without["counted"], !left_out, "{without}");
    }
    assert!(less["step"]["seconds"].as_f64() < all["step"]["seconds"].as_f64());
    place.dsctl(&["plan", &quickstart(), "--without", "luck"]).ended(64, &["there is no term luck; there are fill"]);
}

#[test]
fn faults_of_a_fabric_are_taken_into_account_and_its_links_are_drawn() {
    let place = Place::new();
    let whole = "version: 1\nname: two nodes\nnodes: 2\nnode:\n  gpus: 4\n  nics: 4\n  \
        within: { kind: nvlink, bandwidth: 160GB/s, latency: 1us }\n  nic: { bandwidth: 400Gbps, latency: 1us }\n\
        network: { kind: multi_plane_fat_tree, planes: 4, radix: 8, link: { bandwidth: 400Gbps, latency: 400ns } }\n";
    place.write("whole.yaml", whole);
    place.write("broken.yaml", &format!("{whole}faults: [\"plane=3:down\"]\n"));
    let job = ["plan", "job.yaml", "--hardware", "h800", "--set", "parallel.data=8", "--set", "parallel.expert=8"];
    let of = |fabric: &str| place.facts(&[&job[..], &["--fabric", fabric]].concat())["forecast"].clone();
    let (whole, broken) = (of("whole.yaml"), of("broken.yaml"));
    assert!(broken["step"]["seconds"].as_f64() > whole["step"]["seconds"].as_f64());
    assert!(broken["assumptions"].to_string().contains("plane=3:down"), "{broken:#}");
    place
        .dsctl(&[&job[..], &["--fabric", "broken.yaml", "--pictures", "pictures", "--html", "plan.html"]].concat())
        .ended(0, &[]);
    for file in ["pictures/links.svg", "plan.html"] {
        assert!(fs::read_to_string(place.path(file)).unwrap().contains("Link load of one dispatch"), "{file}");
    }
}

#[test]
fn limits_of_decoding_and_costs_of_a_token_are_those_of_the_paper() {
    let place = Place::new();
    let said = place.dsctl(&["limits"]);
    for words in ["120.96 us", "14.76 ms", "0.82 ms", "70.272 KB", "327.680 KB", "516.096 KB", "2447.9 GFLOP"] {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
    let facts = place.facts(&["limits", "--bandwidth", "100", "--tokens", "64"]);
    let each = facts["decoding"][0]["exchange_seconds"].as_f64().unwrap();
    assert!((each * 1e6 - 120.96).abs() < 1e-9, "{facts:#}");
    place.dsctl(&["limits", "--bandwidth", "0"]).ended(64, &["write a positive number"]);
}

#[test]
fn the_loads_of_a_run_say_when_experts_would_have_moved() {
    let place = Place::new();
    let (job, metrics) = (format!("{RECORDED}/job.yaml"), format!("{RECORDED}/metrics.jsonl"));
    place.dsctl(&["plan", &job, "--loads", &metrics]).ended(64, &["add --set balance.placement=eplb"]);
    let by_load = ["plan", &job, "--set", "balance.placement=eplb", "--set", "balance.rebalance_every=2", "--loads"];
    let asked = [&by_load[..], &[&metrics]].concat();
    let layers = place.facts(&asked);
    let layers = layers.as_array().unwrap();
    assert!(!layers.is_empty());
    for layer in layers {
        let of = |name: &str| layer[name].as_f64().unwrap();
        assert_eq!(of("steps"), 8.0, "{layer}");
        assert!(of("imbalance_fixed") > 1.0 && of("imbalance") >= 1.0, "{layer}");
        for migration in layer["migrations"].as_array().unwrap() {
            assert!(migration["expected"].as_f64() < migration["imbalance"].as_f64(), "{migration}");
            assert_eq!(migration["step"].as_u64().unwrap() % 2, 0, "{migration}");
        }
    }
    assert!(layers.iter().any(|layer| !layer["migrations"].as_array().unwrap().is_empty()), "{layers:?}");
    let said = place.dsctl(&asked);
    assert!(said.stdout.contains("BUSIEST, MOVING"), "{}", said.stdout);
    place.write("none.jsonl", "{\"kind\":\"note\"}\n");
    place.dsctl(&[&by_load[..], &["none.jsonl"]].concat()).ended(64, &["no line has loads"]);
}
