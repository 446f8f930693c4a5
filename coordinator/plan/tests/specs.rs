//! What is read, written, explained and described are the same fields.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ds_arch::{GroupLimit, MtpInput, PRESETS, preset};
use ds_plan::JobPlan;
use ds_plan::spec::{
    AdamWSpec, BalancePolicy, BalanceSpec, BiasRule, CheckpointSpec, ClusterSpec, ComputeType, DataSpec, DeviceKind,
    ExchangeKind, Explained, JobSpec, LearningRatePiece, LearningRateShape, LearningRateSpec, MomentType, NetworkKind,
    ParallelSpec, PhaseSpec, PlacementPolicy, PlanesUse, PrecisionSpec, Recompute, Resolved, ScaleType, ScheduleKind,
    TokenizerSpec, WireType, read, schema, to_yaml,
};
use serde_json::Value;

const BASE: &str = include_str!("specs/base.yaml");
const VERSION_1: &str = include_str!("specs/version-1.yaml");

fn with(sets: &[(&str, &str)]) -> Resolved {
    let sets: Vec<_> = sets.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    read(BASE, "/jobs/base.yaml", &sets).unwrap_or_else(|problems| panic!("{problems}"))
}

fn of(job: &Resolved, path: &str) -> Explained {
    let explained = job.explain();
    let found = explained.iter().find(|one| one.path == path);
    found.unwrap_or_else(|| panic!("{path} is not among {explained:#?}")).clone()
}

/// Value and origin of a field.
fn says(job: &Resolved, path: &str, value: &str, origin: &str) {
    let one = of(job, path);
    assert_eq!((one.value.as_str(), one.origin.to_string().as_str()), (value, origin), "{path}");
}

#[test]
fn a_file_of_version_1_means_what_it_meant() {
    let mut model = preset("bard").unwrap();
    model.n_layers = 6;
    model.moe.top_k = 2;
    model.mtp.input = MtpInput::PreNorm;
    let piece = |shape, steps| LearningRatePiece { shape, steps };
    let spec = JobSpec {
        name: "shakespeare".to_owned(),
        seed: 1,
        model,
        data: DataSpec {
            train: PathBuf::from("/data/shakespeare/train"),
            validation: Some(PathBuf::from("/data/shakespeare/validation")),
            tokenizer: TokenizerSpec::Bytes,
        },
        parallel: ParallelSpec {
            pipeline: 2,
            data: 4,
            context: 1,
            tensor: 1,
            expert: 2,
            schedule: ScheduleKind::OneFOneB,
            virtual_stages: 1,
            zero: 0,
            recompute: Recompute::None,
            exchange: ExchangeKind::Plain,
        },
        train: vec![PhaseSpec {
            steps: 600,
            sequence: 128,
            batch: 32,
            microbatch: 2,
            learning_rate: LearningRateSpec {
                peak: 3e-3,
                warmup: 40,
                pieces: vec![
                    piece(LearningRateShape::Constant, 100),
                    piece(LearningRateShape::Cosine { to: 2e-4 }, 400),
                    piece(LearningRateShape::Step { to: 1e-4 }, 60),
                ],
            },
            optimizer: AdamWSpec { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 },
            clip: None,
            mtp_weight: 0.1,
            evaluate_every: 200,
            trace_every: 0,
            evaluate_bytes: Some(262_144),
            ema: false,
            ema_decay: 0.999,
        }],
        precision: PrecisionSpec {
            compute: ComputeType::Bf16,
            scales: ScaleType::Exact,
            moments: MomentType::F32,
            dispatch: WireType::Compute,
            combine: WireType::Compute,
        },
        balance: BalanceSpec {
            policy: BalancePolicy::LossFree { speed: 0.003, rule: BiasRule::Sign, freeze_after: Some(500) },
            sequence_weight: 1e-4,
            batch_weight: 0.0,
            placement: PlacementPolicy::Fixed,
        },
        checkpoint: CheckpointSpec {
            every: 100,
            keep: 3,
            folder: Some(PathBuf::from("/checkpoints")),
            start_from: Some(PathBuf::from("/checkpoints/step-000100")),
        },
        cluster: ClusterSpec {
            device: DeviceKind::Cuda,
            gpus_per_node: None,
            threads: 2,
            share_devices: true,
            network: NetworkKind::Real,
            planes: PlanesUse::Any,
            priority: -3,
            max_restarts: 1,
            heartbeat_timeout: Duration::from_millis(500),
            comm_timeout: Duration::from_secs(120),
            fabric: None,
            hardware: None,
            orphan_grace: Some(Duration::from_secs(3600)),
        },
    };
    let read = read(VERSION_1, "version-1.yaml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(read.spec, spec);
}

#[test]
fn what_is_written_reads_to_an_equal_spec() {
    let again = |spec: &JobSpec| {
        let yaml = to_yaml(spec);
        assert!(yaml.starts_with("version: 1\nkind: train\nname: "), "{yaml}");
        let read = read(&yaml, "job.yaml", &[]).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
        assert_eq!(&read.spec, spec, "{yaml}");
        assert_eq!(to_yaml(&read.spec), yaml);
    };
    for name in PRESETS {
        again(&with(&[("model.preset", name)]).spec);
    }
    again(&read(VERSION_1, "version-1.yaml", &[]).unwrap().spec);
    again(&with(&[("balance.policy", "none"), ("train.0.learning_rate.pieces", "[]")]).spec);
    again(
        &with(&[("data.tokenizer", "tokenizer.json"), ("data.validation", "null"), ("train.0.evaluate_every", "0")])
            .spec,
    );
    for name in [
        "yes",
        "null",
        "12",
        "1.0e5",
        "a: b",
        "- a",
        "# a",
        "\"",
        "\\",
        " lead",
        "é\u{85}\u{2028}\u{feff}x",
        "~",
        "{a",
        "'",
        "🎭",
        "a b",
        "<<",
        "!x",
        "&x",
        "*x",
        "1f1b",
        "0x10",
        "a #b",
    ] {
        let mut spec = with(&[]).spec;
        spec.name = name.to_owned();
        if !name.chars().any(char::is_control) {
            again(&spec);
        }
        spec.name = "plain".to_owned();
        spec.data.train = Path::new("/data").join(name);
        if !name.chars().any(char::is_control) {
            again(&spec);
        }
    }
    let mut spec = with(&[]).spec;
    (spec.seed, spec.train[0].learning_rate.peak) = (u64::MAX, 1.0 / 3.0);
    again(&spec);
}

#[test]
fn a_preset_gives_what_is_not_written_beside_it() {
    for name in PRESETS {
        assert_eq!(with(&[("model.preset", name)]).spec.model, preset(name).unwrap());
    }
    let job = with(&[("model.moe.top_k", "3"), ("model.attention.q_lora_rank", "null")]);
    let mut model = preset("tiny").unwrap();
    (model.moe.top_k, model.attention.q_lora_rank) = (3, None);
    assert_eq!(job.spec.model, model);
    let free = with(&[("model.moe.n_groups", "1"), ("model.moe.picked_groups", "1")]);
    assert_eq!(free.spec.model.moe.groups, GroupLimit::AnyGroup);
    let limited =
        with(&[("model.preset", "deepseek-v2-lite"), ("model.moe.n_groups", "8"), ("model.moe.picked_groups", "3")]);
    assert_eq!(limited.spec.model.moe.groups, GroupLimit::AtMost { n_groups: 8, picked: 3 });
}

#[test]
fn every_value_says_where_it_comes_from() {
    let job = with(&[("train[0].steps", "200"), ("cluster.threads", "2"), ("data.train", "here")]);
    says(&job, "name", "base", "/jobs/base.yaml:3:7");
    says(&job, "train[0].learning_rate.pieces[1].to", "0.0001", "/jobs/base.yaml:27:15");
    says(&job, "train[0].steps", "200", "--set train[0].steps");
    says(&job, "model.moe.n_experts", "8", "preset tiny");
    says(&job, "train[0].clip", "1.0", "default");
    says(&job, "parallel.data", "2", "default, as parallel.expert");
    says(&job, "data.train", &std::env::current_dir().unwrap().join("here").display().to_string(), "--set data.train");
    let paths: Vec<String> = job.explain().into_iter().map(|one| one.path).collect();
    assert!(!paths.contains(&"train[0].learning_rate.pieces[0].to".to_owned()), "it does not apply");
}

#[test]
fn set_reaches_every_place_and_the_last_one_holds() {
    let job = with(&[("train.0.learning_rate.pieces.0.steps", "40"), ("seed", "1"), ("seed", "2")]);
    assert_eq!((job.spec.train[0].learning_rate.pieces[0].steps, job.spec.seed), (40, 2));
    let job = with(&[("train.0.learning_rate.pieces.2", "{shape: step, steps: 9, to: 0}"), ("train.0.steps", "101")]);
    assert_eq!(job.spec.train[0].learning_rate.pieces[2].shape, LearningRateShape::Step { to: 0.0 });
    let job = with(&[("train.0.optimizer.beta1", "0.5"), ("train.0.clip", "")]);
    assert_eq!((job.spec.train[0].optimizer.beta1, job.spec.train[0].clip), (0.5, None));
    // What the file says of a speed is idle, not wrong, where the command line says that nothing moves.
    assert_eq!(with(&[("balance.policy", "none")]).spec.balance.policy, BalancePolicy::None);
}

#[test]
fn paths_are_taken_from_the_folder_of_the_file() {
    let text = BASE.replace("/data/train", "../data/train").replace("tokenizer: bytes", "tokenizer: t.json");
    let job = read(&text, "/jobs/sub/job.yaml", &[]).unwrap().spec;
    assert_eq!(job.data.train, Path::new("/jobs/data/train"));
    assert_eq!(job.data.tokenizer, TokenizerSpec::File(PathBuf::from("/jobs/sub/t.json")));
}

#[test]
fn the_quickstart_can_be_planned() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/jobs/quickstart.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let job = read(&text, &path.to_string_lossy(), &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(JobPlan::new(job.spec).unwrap().grid().n_ranks(), 4);
}

/// What the schema says of a key path such as `train[0].steps`.
fn described<'a>(schema: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(schema, |at, part| {
        let (key, is_item) = part.split_once('[').map_or((part, false), |(key, _)| (key, true));
        let property = &at["properties"][key];
        if is_item { &property["items"] } else { property }
    })
}

#[test]
fn the_schema_describes_every_value_of_a_spec() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    let job = read(VERSION_1, "version-1.yaml", &[]).unwrap();
    for Explained { path, value, .. } in job.explain() {
        let field = described(&schema, &path);
        assert!(field["description"].is_string(), "{path}: {field}");
        let numbers: Option<f64> = value.parse().ok();
        if let (Some(x), Some(least)) = (numbers, field["minimum"].as_f64()) {
            assert!(x >= least, "{path}: {value} {field}");
        }
        let words: Vec<&Value> = field["oneOf"].as_array().into_iter().flatten().map(|word| &word["const"]).collect();
        assert!(words.is_empty() || words.contains(&&Value::from(value.as_str())), "{path}: {value} {field}");
    }
    let required: Vec<&str> = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(required, ["version", "kind", "name", "model", "data", "train"]);
}

#[test]
fn a_value_of_each_field_of_the_schema_is_written() {
    // Its numbers stand beside this word only.
    let by_load = [("balance.placement".to_owned(), "eplb".to_owned())];
    let yaml = to_yaml(&read(VERSION_1, "version-1.yaml", &by_load).unwrap().spec);
    fn keys(schema: &Value, found: &mut Vec<String>) {
        for (key, below) in schema["properties"].as_object().unwrap() {
            found.push(key.clone());
            let below = if below["items"].is_object() { &below["items"] } else { below };
            if below["properties"].is_object() {
                keys(below, found);
            }
        }
    }
    let mut found = Vec::new();
    keys(&schema(), &mut found);
    assert!(found.len() > 60, "{found:?}");
    for key in found.iter().filter(|key| *key != "preset") {
        assert!(yaml.contains(&format!("{key}:")), "{key} is not in\n{yaml}");
    }
}

#[test]
fn a_spec_with_mistakes_all_over_gets_a_message_for_each() {
    let lines: String = (0..2000).map(|n| format!("wrong_{n}: {n}\n")).collect();
    let problems = read(&format!("{BASE}{lines}"), "job.yaml", &[]).unwrap_err();
    assert_eq!(problems.iter().count(), 2000);
}
