//! The jobs under deploy/jobs that show number formats and schedules: each as a user launches it, shortened, and with what it
//! says looked for where it must show.
#![cfg(feature = "train")]

use std::path::{Path, PathBuf};

use ds_checkpoint::RecordKind;
use ds_kernels::ProductCounts;
use ds_kernels::fp8::product_counts;
use ds_plan::JobPlan;
use ds_plan::spec::{ScheduleKind, read};
use ds_tests::job::Job;
use ds_tests::launch::{newest_tensors, steps, summary};
use ds_tests::programs::{dsctl, run};
use ds_tests::ranks::{Backend, on_threads, trainer};

fn example(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/jobs/v3-tiny-{format}.yaml"))
}

/// Less of everything but the network; text from `folder`.
fn shortened(folder: &Path, n_steps: u64) -> Vec<(String, String)> {
    let _ = Job::tiny(folder);
    let at = |name: &str| folder.join(name).display().to_string();
    let sets = [
        ("data.train", at("train.txt")),
        ("data.validation", at("validation.txt")),
        ("train[0].steps", n_steps.to_string()),
        ("train[0].learning_rate.warmup", "1".to_owned()),
        ("train[0].learning_rate.pieces[0].steps", (n_steps - 1).to_string()),
        ("train[0].batch", "8".to_owned()),
        ("train[0].microbatch", "2".to_owned()),
        ("train[0].sequence", "32".to_owned()),
        ("train[0].evaluate_bytes", "2048".to_owned()),
    ];
    sets.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[test]
fn the_tiny_deepseek_v3_runs_in_every_format_and_keeps_what_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let sets = shortened(folder.path(), 4);
    let sets: Vec<String> = sets.iter().flat_map(|(key, value)| ["--set".into(), format!("{key}={value}")]).collect();
    let mut losses = Vec::new();
    for (format, bytes_of_moment) in [("f32", 4), ("bf16", 4), ("fp8", 2)] {
        let home = folder.path().join(format);
        let job = example(format);
        let (code, _, stderr) = run(dsctl(&home).arg("launch").arg(&job).args(&sets));
        assert_eq!(code, Some(0), "{format}: {stderr}");
        assert_eq!(steps(&home), [1, 2, 3, 4], "{format}");
        losses.push(summary(&home)["validation_loss"].as_f64().expect("a loss"));
        let (_, tensors) = newest_tensors(&home);
        let bytes = |kind| tensors.iter().filter(|((_, k), _)| *k == kind).map(|(_, bytes)| bytes.len()).sum::<usize>();
        // Master weights are FP32 in every format.
        assert_eq!(bytes(RecordKind::Moment1) * 4, bytes(RecordKind::Weight) * bytes_of_moment, "{format}");
    }
    let [f32, bf16, fp8] = losses[..] else { panic!("three runs") };
    assert!(bf16 != f32 && fp8 != bf16, "another format rounds otherwise: {losses:?}");
    assert!((bf16 - f32).abs() < 0.01 * f32 && (fp8 - f32).abs() < 0.03 * f32, "{losses:?}");
}

#[test]
fn only_the_one_in_eight_bits_multiplies_codes_and_all_of_them_learn() {
    const N_STEPS: u64 = 12;
    for format in ["f32", "bf16", "fp8"] {
        let folder = tempfile::tempdir().expect("a folder");
        let job = example(format);
        let text = std::fs::read_to_string(&job).expect("a job");
        let read = read(&text, &job.to_string_lossy(), &shortened(folder.path(), N_STEPS));
        let plan = JobPlan::new(read.unwrap_or_else(|problems| panic!("{problems}")).spec).expect("a plan");
        let before = product_counts();
        let losses = on_threads(&plan, Backend::Threads, |rank, endpoint| {
            let mut trainer = trainer(&plan, rank, endpoint, folder.path());
            (0..N_STEPS).map(|_| trainer.step(false).expect("a step").metrics.loss).collect::<Vec<_>>()
        });
        let (first, last) = (losses[0][0], *losses[0].last().expect("steps"));
        assert!(last < 0.85 * first, "{format}: from {first} to {last}");
        let ran = |of: fn(&ProductCounts) -> u64| of(&product_counts()) - of(&before);
        let ran = [ran(|c| c.forward), ran(|c| c.input_gradient), ran(|c| c.weight_gradient)];
        assert!(if format == "fp8" { ran.iter().all(|&n| n > 100) } else { ran == [0; 3] }, "{format}: {ran:?}");
    }
}

#[test]
fn every_schedule_with_a_job_trains_as_1f1b_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let sets = shortened(folder.path(), 3);
    let mut sets: Vec<String> =
        sets.iter().flat_map(|(key, value)| ["--set".into(), format!("{key}={value}")]).collect();
    // Four microbatches, since some schedules need twice as many as there are ranks in a pipeline.
    sets.extend(["--set".into(), "train.0.microbatch=1".into()]);
    let launched = |name: &str, job: &Path, more: &[&str]| {
        let home = folder.path().join(name);
        let (code, _, stderr) = run(dsctl(&home).arg("launch").arg(job).args(&sets).args(more));
        assert_eq!(code, Some(0), "{name}: {stderr}");
        assert_eq!(steps(&home), [1, 2, 3], "{name}");
        summary(&home)["validation_loss"].as_f64().expect("a loss")
    };
    let jobs = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/jobs")).expect("jobs");
    let mut jobs: Vec<PathBuf> = jobs.map(|entry| entry.expect("a job").path()).collect();
    jobs.retain(|job| job.file_name().is_some_and(|name| name.to_string_lossy().starts_with("schedule-")));
    let names: Vec<String> = jobs.iter().map(|job| job.file_stem().expect("a name").to_string_lossy().into()).collect();
    for kind in ScheduleKind::ALL.iter().filter(|&&kind| kind != ScheduleKind::OneFOneB) {
        let name = format!("schedule-{}", kind.to_string().replace('_', "-"));
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let plain = ["--set", "parallel.schedule=1f1b", "--set", "parallel.virtual_stages=1"];
    let expected = launched("1f1b", &jobs[0], &plain);
    for job in jobs {
        let found = launched(&job.file_stem().expect("a name").to_string_lossy(), &job, &[]);
        // Sums over microbatches in another order.
        assert!((found - expected).abs() < 1e-4 * expected, "{}: {found}, under 1f1b {expected}", job.display());
    }
}

#[test]
fn a_trace_shows_every_rank_and_two_passes_in_turns() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/jobs/schedule-dualpipe-v.yaml");
    let mut sets = shortened(folder.path(), 3);
    sets.extend([("train.0.microbatch".into(), "1".into()), ("train.0.trace_every".into(), "2".into())]);
    let sets: Vec<String> = sets.iter().flat_map(|(key, value)| ["--set".into(), format!("{key}={value}")]).collect();
    let home = folder.path().join("home");
    let (code, _, stderr) = run(dsctl(&home).arg("launch").arg(&job).args(&sets));
    assert_eq!(code, Some(0), "{stderr}");
    let traces = home.join("runs/schedule-dualpipe-v-0001/traces");
    let files: Vec<PathBuf> = std::fs::read_dir(&traces).expect("traces").map(|f| f.expect("a file").path()).collect();
    assert_eq!(files, [traces.join("step-00000002.json")], "of every second step");

    let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(&files[0]).expect("a trace")).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    for rank in 0..4 {
        let work: Vec<&str> = events
            .iter()
            .filter(|event| event["ph"] == "X" && event["pid"] == rank && event["cat"] == "work")
            .map(|event| event["name"].as_str().expect("a name"))
            .collect();
        for pass in ["F", "B", "I", "W"] {
            assert!(work.iter().any(|name| name.starts_with(pass)), "rank {rank} has no {pass}: {work:?}");
        }
        assert!(work.contains(&"reduce") && work.contains(&"optimizer"), "rank {rank}: {work:?}");
        // Forward, backward, and the same forward again.
        let turns = work.windows(3).any(|w| w[0] == w[2] && w[0].starts_with('F') && w[1].starts_with('B'));
        assert!(turns, "rank {rank}: no pair takes turns in {work:?}");
    }
}
