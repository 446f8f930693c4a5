//! `check`, `schema`, `plan`: a job before it runs.

use serde_json::Value;

use crate::place::{Place, quickstart};

#[test]
fn what_check_prints_reads_again_to_the_same() {
    let place = Place::new();
    let first = place.dsctl(&["check", &quickstart()]);
    first.ended(0, &[]);
    place.write("again.yaml", &first.stdout);
    let second = place.dsctl(&["check", "again.yaml"]);
    second.ended(0, &[]);
    assert_eq!(first.stdout, second.stdout);
}

#[test]
fn check_says_where_each_value_comes_from() {
    let place = Place::new();
    let said = place.dsctl(&["check", "job.yaml", "--explain", "--set", "train[0].steps=33"]);
    said.ended(0, &[]);
    let steps = said.stdout.lines().find(|line| line.starts_with("train") && line.contains("steps")).unwrap();
    assert!(steps.contains("33") && steps.contains("--set"), "{steps}");
    assert!(said.stdout.contains("job.yaml"), "{}", said.stdout);
    let explained = place.facts(&["check", "job.yaml", "--explain"]);
    assert!(explained.as_array().unwrap().iter().any(|one| one["path"] == "seed"), "{explained}");
}

#[test]
fn check_prints_the_job_as_json_too() {
    let job = Place::new().facts(&["check", "job.yaml", "--set", "seed=12"]);
    assert_eq!((job["seed"].as_u64(), job["name"].as_str()), (Some(12), Some("tiny")));
}

const EIGHT_MISTAKES: &str = include_str!("../../plan/tests/specs/eight-mistakes.yaml");

#[test]
fn eight_mistakes_give_eight_messages() {
    let place = Place::new();
    place.write("wrong.yaml", EIGHT_MISTAKES);
    let said = place.dsctl(&["check", "wrong.yaml"]);
    let hints = ["bard", "warmup", "loss_free", "every"];
    said.ended(64, &["brad", "two", "-5", "wramup", "fp4", "loss_fre", "evry", "tpu"]).ended(64, &hints);
    assert_eq!(said.stdout, "");
    assert_eq!(said.stderr.matches("wrong.yaml:").count(), 8, "{}", said.stderr);
    let listed = place.dsctl(&["check", "wrong.yaml", "--format", "json"]);
    listed.ended(64, &[]);
    let problems: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(problems["problems"].as_array().map(Vec::len), Some(8), "{problems}");
    for command in ["plan", "launch"] {
        assert_eq!(place.dsctl(&[command, "wrong.yaml"]).ended(64, &["brad", "tpu"]).stdout, "");
    }
    assert!(!place.home().exists(), "nothing was started");
}

#[test]
fn an_unknown_preset_is_refused_with_those_that_there_are() {
    let said = Place::new().dsctl(&["check", "job.yaml", "--set", "model.preset=deepseek-v4"]);
    said.ended(64, &["deepseek-v4", "deepseek-v3"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let place = Place::new();
    for command in ["check", "plan", "launch"] {
        place.dsctl(&[command, "nowhere.yaml"]).ended(64, &["cannot read nowhere.yaml", "hint: "]);
    }
    std::fs::write(place.path("bytes.yaml"), [0xff, 0xfe, 0]).unwrap();
    place.dsctl(&["check", "bytes.yaml"]).ended(64, &["bytes.yaml is no text"]);
}

#[test]
fn a_set_without_a_value_is_refused() {
    let place = Place::new();
    place.dsctl(&["check", "job.yaml", "--set", "seed"]).ended(64, &["--set seed", "hint: write --set"]);
    place.dsctl(&["check", "job.yaml", "--set", "sed=3"]).ended(64, &["sed"]);
    place.dsctl(&["check", "job.yaml", "--set", "seed=three"]).ended(64, &["three"]);
}

#[test]
fn the_schema_is_json_and_names_the_sections() {
    let said = Place::new().dsctl(&["schema"]);
    said.ended(0, &[]);
    let schema: Value = serde_json::from_str(&said.stdout).unwrap();
    assert!(schema["$schema"].is_string(), "{schema}");
    for section in ["version", "kind", "model", "data", "parallel", "train", "balance", "checkpoint", "cluster"] {
        assert!(said.stdout.contains(&format!("\"{section}\"")), "{section}");
    }
}

#[test]
fn a_plan_says_who_holds_what() {
    let place = Place::new();
    let plan = place.facts(&["plan", &quickstart()]);
    assert_eq!((plan["grid"]["ranks"].as_u64(), plan["ranks"].as_array().map(Vec::len)), (Some(4), Some(4)));
    let text = place.dsctl(&["plan", &quickstart()]);
    text.ended(0, &[]);
    assert!(text.stdout.contains("rank") && text.stdout.contains("stage"), "{}", text.stdout);
}

#[test]
fn what_is_no_command_is_the_users_mistake_and_help_is_none() {
    let place = Place::new();
    for arguments in [&["lunch"][..], &[], &["check"], &["check", "job.yaml", "--format", "xml"], &["plan", "a", "b"]] {
        assert_eq!(place.dsctl(arguments).code, Some(64), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["launch", "--help"], &["ckpt", "--help"]] {
        let said = place.dsctl(arguments);
        assert!(said.code == Some(0) && !said.stdout.is_empty(), "{arguments:?}: {said:?}");
    }
}
