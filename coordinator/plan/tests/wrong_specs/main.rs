//! Wrong specs and exactly what is said about them.

mod keys;
mod rules;
mod sets;
mod texts;
mod values;

use ds_plan::JobPlan;
use ds_plan::spec::{Problems, read};

/// What stands where in `base.yaml`, what to write instead, and what is said.
pub(crate) type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);

const BASE: &str = include_str!("../specs/base.yaml");

fn problems(text: &str, sets: &[(&str, &str)]) -> Problems {
    let sets: Vec<_> = sets.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    match read(text, "job.yaml", &sets) {
        Ok(_) => panic!("nothing is said about {sets:?} over\n{text}"),
        Err(problems) => problems,
    }
}

/// What is said, a line each.
fn said(text: &str, sets: &[(&str, &str)]) -> Vec<String> {
    problems(text, sets).to_string().lines().map(str::to_owned).collect()
}

/// The base with other words in the place of some that stand in it once.
fn changed(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(BASE.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from:?} stands once in\n{text}");
        text.replace(from, to)
    })
}

#[test]
fn a_wrong_spec_gets_the_expected_message() {
    let cases = [values::CASES, keys::CASES, rules::CASES].concat();
    assert!(cases.len() >= 40);
    for (changes, expected) in cases {
        assert_eq!(said(&changed(changes), &[]), expected, "{changes:?}");
    }
}

#[test]
fn the_base_is_right() {
    let job = read(BASE, "job.yaml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    JobPlan::new(job.spec).unwrap();
}

#[test]
fn a_wrong_set_gets_the_expected_message() {
    for (set, expected) in sets::CASES {
        assert_eq!(said(BASE, &[*set]), *expected, "{set:?}");
    }
}

#[test]
fn a_file_that_is_no_job_gets_the_expected_message() {
    for (text, expected) in texts::CASES {
        assert_eq!(said(text, &[]), *expected, "{text:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(said(&deep, &[]).len(), 1);
}

#[test]
fn eight_mistakes_in_fields_give_eight_messages() {
    let text = include_str!("../specs/eight-mistakes.yaml");
    let places: Vec<_> =
        problems(text, &[]).iter().map(|one| (one.line.unwrap(), one.column.unwrap(), one.path.clone())).collect();
    let expected = [
        (4, 18, "model.preset"),
        (6, 23, "parallel.pipeline"),
        (8, 12, "train[0].steps"),
        (12, 36, "train[0].learning_rate.wramup"),
        (13, 23, "precision.compute"),
        (14, 20, "balance.policy"),
        (15, 15, "checkpoint.evry"),
        (16, 20, "cluster.device"),
    ];
    assert_eq!(places, expected.map(|(line, column, path)| (line, column, path.to_owned())));
}

#[test]
fn eight_mistakes_between_fields_give_eight_messages() {
    let text = changed(&[
        ("preset: tiny", "preset: tiny\n  n_dense_layers: 9\n  attention: { qk_rope_dim: 9 }\n  moe: { top_k: 7 }"),
        ("pipeline: 2", "pipeline: 7"),
        ("expert: 2", "expert: 3"),
        ("sequence: 32", "sequence: 4096"),
        ("warmup: 5", "warmup: 101"),
        ("speed: 0.001", "freeze_after: 1000"),
    ]);
    let paths: Vec<_> = problems(&text, &[]).iter().map(|one| one.path.clone()).collect();
    let expected = [
        "model.n_dense_layers",
        "model.attention.qk_rope_dim",
        "model.moe.top_k",
        "parallel.pipeline",
        "parallel.expert",
        "train[0].sequence",
        "train[0].learning_rate.warmup",
        "balance.freeze_after",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn a_problem_has_its_parts() {
    let problems = problems(&changed(&[("device: cpu", "device: tpu")]), &[("seed", "x")]);
    let parts: Vec<_> = problems.iter().collect();
    let [device, seed] = parts.as_slice() else { panic!("{problems}") };
    assert_eq!((device.line, device.column, device.path.as_str()), (Some(35), Some(11), "cluster.device"));
    assert_eq!((device.value.as_deref(), device.rule.as_str()), (Some("tpu"), "is not known here"));
    assert!(device.hint.as_ref().is_some_and(|hint| hint.contains("cuda")));
    assert_eq!((seed.line, seed.column, seed.value.as_deref()), (None, None, Some("x")));
}

/// Whatever the reader lets through, the plan takes: a sweep over axes and sizes.
#[test]
fn what_reads_can_be_planned() {
    let keys = ["parallel.pipeline", "parallel.data", "parallel.expert", "parallel.context", "train.0.batch"];
    sweep(&keys, |_| &["1", "2", "3", "4", "8"]);
}

/// Likewise over schedules.
#[test]
fn what_reads_can_be_planned_under_every_schedule() {
    let keys = ["parallel.schedule", "parallel.virtual_stages", "parallel.pipeline", "train.0.batch"];
    sweep(&keys, |key| match key {
        "parallel.schedule" => {
            &["1f1b", "gpipe", "interleaved", "interleaved_zb", "looped_bfs", "zb_h1", "zb_v", "dualpipe", "dualpipe_v"]
        }
        "parallel.virtual_stages" => &["1", "2", "3"],
        "parallel.pipeline" => &["1", "2", "3", "4"],
        _ => &["2", "4", "6", "8", "16", "18", "32"],
    });
}

fn sweep(keys: &[&str], values: impl Fn(&str) -> &'static [&'static str]) {
    let n: usize = keys.iter().map(|key| values(key).len()).product();
    let (mut n_planned, mut n_refused) = (0, 0);
    for n in 0..n {
        let mut rest = n;
        let mut set = |key: &&str| {
            let values = values(key);
            let value = values[rest % values.len()];
            rest /= values.len();
            ((*key).to_owned(), value.to_owned())
        };
        let sets: Vec<_> = keys.iter().map(&mut set).collect();
        match read(BASE, "job.yaml", &sets) {
            Ok(job) => {
                JobPlan::new(job.spec).unwrap_or_else(|error| panic!("{sets:?}: {error}"));
                n_planned += 1;
            }
            Err(_) => n_refused += 1,
        }
    }
    assert!(n_planned > 100 && n_refused > 100, "{n_planned} {n_refused}");
}
