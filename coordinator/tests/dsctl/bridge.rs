//! `import`, `export`, and jobs that start from what was imported.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ds_arch::hugging_face::{WeightType, write};
use ds_arch::{gate_bias_name, parameters, preset};
use serde_json::json;

use crate::place::{Place, Said};

/// A folder that transformers wrote.
fn foreign() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/golden/deepseek_v3_tiny_nonorm")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn import(place: &Place, to: &str) {
    let facts = place.facts(&["import", &foreign().display().to_string(), to]);
    assert_eq!((&facts["tensors"], &facts["mtp_modules_left_out"]), (&json!(139), &json!(1)), "{facts}");
    let peak = &facts["peak_memory"];
    assert!(
        peak["samples"].as_u64() > Some(0) && peak["anonymous_and_mapped_bytes"].as_u64() < Some(64 << 20),
        "{peak}"
    );
}

#[test]
fn what_comes_in_goes_out_as_it_was() {
    let place = Place::new();
    import(&place, "checkpoint");
    assert!(place.dsctl(&["ckpt", "verify", "checkpoint"]).stdout.contains("whole"));
    let said = place.dsctl(&["export", "checkpoint", "hf"]);
    said.ended(0, &["checkpoint, step 0"]);
    assert!(said.stdout.contains("139 tensors in 1 files") && said.stdout.contains("peak memory"), "{said:?}");
    assert_eq!(said.stdout.lines().count(), 1);
    for name in ["model.safetensors", "generation_config.json"] {
        assert!(fs::read(place.path("hf").join(name)).unwrap() == fs::read(foreign().join(name)).unwrap(), "{name}");
    }
    let facts = place.facts(&["export", "checkpoint", "eight", "--fp8", "--shard-size", "100K"]);
    assert!(facts["files"].as_u64() > Some(1) && facts["step"] == 0, "{facts}");
    assert!(names(&place.path("eight")).contains(&"model.safetensors.index.json".to_owned()));
}

#[test]
fn nothing_is_written_over_something_and_mistakes_say_what_to_do() {
    let place = Place::new();
    import(&place, "checkpoint");
    let from = foreign().display().to_string();
    place.dsctl(&["import", &from, "checkpoint"]).ended(64, &["checkpoint is there already", "hint: "]);
    place.dsctl(&["export", "checkpoint", "checkpoint"]).ended(64, &["checkpoint is there already"]);
    fs::create_dir(place.path("mine.tmp")).unwrap();
    fs::write(place.path("mine.tmp/work"), "precious").unwrap();
    place.dsctl(&["import", &from, "mine"]).ended(64, &["mine.tmp is in the way", "hint: "]);
    assert_eq!(fs::read_to_string(place.path("mine.tmp/work")).unwrap(), "precious");
    place.dsctl(&["import", &from, "new", "--max-ram", "1M"]).ended(64, &["1048576 bytes", "needs", "--max-ram"]);
    place.dsctl(&["import", &from, "new", "--max-ram", "many"]).ended(64, &["an amount such as 512M or 2G"]);
    place.dsctl(&["import", ".", "new"]).ended(64, &["config.json"]);
    place.dsctl(&["export", "nowhere", "new"]).ended(64, &["nowhere is neither a folder nor a job"]);
    place.dsctl(&["export", "checkpoint", "new", "--fp8", "--dtype", "f32"]).ended(64, &["--fp8"]);
    assert!(!place.path("new").exists() && !place.path("new.tmp").exists());
}

#[test]
fn a_start_that_does_not_fit_is_named_field_by_field_before_anything_starts() {
    let place = Place::new();
    place.fake_worker("exit 0");
    import(&place, "checkpoint");
    let start = ["job.yaml", "--set", "checkpoint.start_from=checkpoint"];
    let problems = [
        "preset tiny: model.hidden_size: 32 does not fit the weights to start from, whose network has 64",
        "preset tiny: model.n_layers: 4 does not fit the weights to start from, whose network has 3",
        "preset tiny: model.moe.n_experts: 8 does not fit the weights to start from, whose network has 16",
        "preset tiny: model.mtp.depth: 1 does not fit the weights to start from, whose network has 0",
    ];
    for command in ["check", "launch"] {
        place.dsctl(&[&[command][..], &start].concat()).ended(64, &problems);
    }
    let said = place.dsctl(&[&["check", "--format", "json"][..], &start].concat());
    assert!(said.code == Some(64) && said.stdout.contains("\"path\": \"model.hidden_size\""), "{said:?}");
    assert!(!place.home().join("state.sqlite").exists(), "nothing was started");

    let absent = ["job.yaml", "--set", "checkpoint.start_from=nowhere"];
    place.dsctl(&[&["check"][..], &absent].concat()).ended(0, &["nowhere is not here, so nothing was compared"]);
    place.dsctl(&[&["launch"][..], &absent].concat()).ended(64, &["checkpoint.start_from: ", "hint: dsctl import"]);
    fs::create_dir(place.path("folder")).unwrap();
    let folder = ["check", "job.yaml", "--set", "checkpoint.start_from=folder"];
    place.dsctl(&folder).ended(64, &["checkpoint.start_from: ", "hint: name one checkpoint"]);
}

#[test]
fn a_start_that_fits_says_in_what_else_it_differs() {
    let place = Place::new();
    import(&place, "checkpoint");
    let model = "{ vocab_size: 256, hidden_size: 64, n_layers: 3, n_dense_layers: 1, dense_hidden: 128, \
                 attention: { n_heads: 4, q_lora_rank: 32, kv_lora_rank: 16, qk_nope_dim: 16, qk_rope_dim: 8, \
                 v_head_dim: 16, max_positions: 512 }, moe: { n_experts: 16, n_shared: 1, top_k: 2, \
                 expert_hidden: 32, normalise: false }, mtp: { depth: 0 } }";
    let text = fs::read_to_string(place.path("job.yaml")).unwrap().replace("{ preset: tiny }", model);
    // Bytes are one token more than that network has.
    let text = text.replace("tokenizer: bytes", "tokenizer: tokenizer.json");
    place.write("job.yaml", &format!("{text}checkpoint: {{ start_from: checkpoint }}\n"));
    let said = place.dsctl(&["check", "job.yaml"]);
    said.ended(0, &["checkpoint.start_from: model.moe.top_k is 4 there, 2 here"]);
    assert!(!said.stderr.contains("hidden_size"), "{said:?}");
}

/// A folder of about that many bytes of zeros, most of which take no place on the disk.
fn zeros(folder: &Path, bytes: u64) {
    let mut model = preset("tiny").unwrap();
    model.vocab_size = u32::try_from(bytes / u64::from(model.hidden_size) / 4).unwrap();
    let shapes = parameters(&model).into_iter().map(|p| (p.name, p.shape));
    let biases = model.moe_layers().map(|layer| (gate_bias_name(layer), vec![model.moe.n_experts]));
    let (mut header, mut at) = (serde_json::Map::new(), 0);
    for (name, shape) in shapes.chain(biases) {
        let end = at + shape.iter().map(|&size| u64::from(size)).product::<u64>() * 2;
        header.insert(name, json!({ "dtype": "BF16", "shape": shape, "data_offsets": [at, end] }));
        at = end;
    }
    let text = serde_json::to_vec(&header).unwrap();
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("config.json"), write(&model, WeightType::Bf16, None).unwrap()).unwrap();
    let mut file = File::create(folder.join("model.safetensors")).unwrap();
    file.write_all(&(text.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&text).unwrap();
    file.set_len(8 + text.len() as u64 + at).unwrap();
}

#[test]
fn ctrl_c_leaves_what_the_same_command_goes_on_from() {
    // On a fast disk a small one may be through before the signal comes.
    let stopped = [1_u64 << 29, 1 << 31].into_iter().find_map(|bytes| {
        let place = Place::new();
        zeros(&place.path("hf"), bytes);
        let mut command = place.command(&["import", "hf", "checkpoint"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = ["checkpoint.tmp/part-00000.safetensors", "checkpoint"];
        while !begun.iter().any(|name| place.path(name).exists()) {
            std::thread::yield_now();
        }
        let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let said = Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
        (told.success() && said.code != Some(0)).then_some((place, said))
    });
    let (place, said) = stopped.expect("one of them was stopped");
    said.ended(1, &["stopping at the next block", "stopped; the same command goes on from what is finished in"]);
    assert!(!place.path("checkpoint").exists());
    assert_eq!(said.stdout, "");
}
