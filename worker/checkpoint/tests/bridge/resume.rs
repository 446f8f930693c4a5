//! A run that was killed or stopped is gone on with, and ends as if nothing had happened.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow::{Break, Continue};
use std::path::Path;
use std::process::{Command, Stdio};

use ds_checkpoint::bridge::{BridgeError, Export, ExportType, Import, Limits};
use ds_checkpoint::{Checkpoint, CheckpointError};

use crate::folder::{Place, config, export, import, load_names, model, options, save, tensors};

/// Where the process that is killed works; without it, it is no such process.
const WORKS_IN: &str = "BRIDGE_WORKS_IN";
/// What it leaves when it has come half of the way.
const HALFWAY: &str = "halfway";
const PART_BYTES: u64 = 50_000;

/// Every file of a folder, byte by byte.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| {
        let path = folder.join(&name);
        let bytes = if path.is_dir() { Vec::new() } else { fs::read(path).unwrap() };
        (name, bytes)
    };
    load_names(folder).into_iter().map(read).collect()
}

fn source(place: &Place) {
    let model = model();
    save(&place.at("hf"), &config(&model, "F8_E4M3"), &tensors(&model, "F8_E4M3", true), 3);
    fs::write(place.at("hf/tokenizer.json"), "{\"version\": \"1.0\"}").unwrap();
}

fn parts(place: &Place) -> Import {
    Import::open(&place.at("hf")).unwrap().with_part_bytes(PART_BYTES)
}

/// Not a test: the process that the next test kills. It comes half of the way and stays there.
#[test]
fn halfway() {
    let Some(folder) = std::env::var_os(WORKS_IN) else { return };
    let folder = Path::new(&folder);
    let import = Import::open(&folder.join("hf")).unwrap().with_part_bytes(PART_BYTES);
    let mut stay = |progress: ds_checkpoint::bridge::Progress| {
        if progress.done_bytes * 2 > progress.total_bytes {
            fs::write(folder.join(HALFWAY), "").unwrap();
            loop {
                std::thread::park();
            }
        }
        Continue(())
    };
    let _ = import.run(&folder.join("ckpt"), Limits::default(), &mut stay);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it waits for a real process")]
fn an_import_that_was_killed_goes_on_and_ends_the_same() {
    let place = Place::new();
    source(&place);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "resume::halfway"])
        .env(WORKS_IN, place.at(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !place.at(HALFWAY).exists() {
        assert!(child.try_wait().unwrap().is_none(), "it stays halfway");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    assert_eq!(place.names(), ["ckpt.tmp", "ckpt.tmp.lock", HALFWAY, "hf"]);
    // Nobody takes what is there for a checkpoint.
    assert!(matches!(Checkpoint::open(&place.at("ckpt.tmp")), Err(CheckpointError::Read { .. })));
    let (_, report) = parts(&place).run(&place.at("ckpt"), Limits::default(), &mut |_| Continue(())).unwrap();
    assert!(report.n_resumed > 0 && report.n_resumed < report.n_files, "{report:?}");
    let (_, other) = parts(&place).run(&place.at("whole"), Limits::default(), &mut |_| Continue(())).unwrap();
    assert_eq!(other.n_resumed, 0);
    assert!(files(&place.at("ckpt")) == files(&place.at("whole")), "they differ");
    Checkpoint::open(&place.at("ckpt")).unwrap().verify().unwrap();
    assert_eq!(place.names(), ["ckpt", HALFWAY, "hf", "whole"]);
}

#[test]
fn a_run_that_was_stopped_goes_on_unless_something_else_is_to_be_done() {
    let place = Place::new();
    source(&place);
    let mut stop = |p: ds_checkpoint::bridge::Progress| {
        if p.done_bytes * 2 > p.total_bytes { Break(()) } else { Continue(()) }
    };
    let error = parts(&place).run(&place.at("ckpt"), Limits::default(), &mut stop).unwrap_err();
    assert!(matches!(&error, BridgeError::Stopped { path } if path.ends_with("ckpt.tmp")), "{error}");
    let left = place.names();
    assert_eq!(left, ["ckpt.tmp", "ckpt.tmp.lock", "hf"]);
    // Damage of what was finished is seen, and that file is made again.
    let finished = load_names(&place.at("ckpt.tmp")).into_iter().find(|name| name.ends_with(".note")).unwrap();
    let path = place.at("ckpt.tmp").join(finished.trim_end_matches(".note"));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let (_, report) = parts(&place).run(&place.at("ckpt"), Limits::default(), &mut |_| Continue(())).unwrap();
    assert!(report.n_resumed < report.n_files, "{report:?}");
    Checkpoint::open(&place.at("ckpt")).unwrap().verify().unwrap();

    let run = |weights, progress: &mut dyn FnMut(ds_checkpoint::bridge::Progress) -> std::ops::ControlFlow<()>| {
        let checkpoint = Checkpoint::open(&place.at("ckpt")).unwrap();
        let model = Export::imported_model(&place.at("ckpt"), &checkpoint).unwrap().unwrap();
        let options = ds_checkpoint::bridge::ExportOptions { shard_bytes: 30_000, ..options(weights) };
        let export = Export::open(&place.at("ckpt"), checkpoint, model, options).unwrap();
        export.run(&place.at("out"), Limits::default(), progress).map(|(_, report)| report)
    };
    assert!(matches!(run(ExportType::Stored, &mut stop), Err(BridgeError::Stopped { .. })));
    assert!(!place.at("out").exists());
    assert!(!place.at("out.tmp/config.json").exists(), "nobody takes it for a model");
    let report = run(ExportType::F32, &mut |_| Continue(())).unwrap();
    assert_eq!(report.n_resumed, 0, "another type is another run");
    assert!(load_names(&place.at("out")).iter().all(|name| !name.ends_with(".note")));
}

#[test]
fn what_stands_beside_the_weights_comes_along() {
    let place = Place::new();
    source(&place);
    fs::write(place.at("hf/chat_template.jinja"), "{{ text }}").unwrap();
    fs::write(place.at("hf/README.md"), "no program reads it").unwrap();
    import(&place.at("hf"), &place.at("ckpt")).unwrap();
    export(&place.at("ckpt"), &place.at("out"), options(ExportType::Stored)).unwrap();
    for name in ["tokenizer.json", "chat_template.jinja", "config.json"] {
        assert_eq!(
            fs::read(place.at("hf").join(name)).unwrap(),
            fs::read(place.at("out").join(name)).unwrap(),
            "{name}"
        );
    }
    assert!(!place.at("out/README.md").exists() && place.at("ckpt/companions/tokenizer.json").is_file());
}

#[test]
fn a_disk_without_room_is_refused_with_both_numbers_and_nothing_is_left() {
    let (place, mut model) = (Place::new(), model());
    (model.vocab_size, model.hidden_size) = (1 << 24, 1 << 14);
    // Terabytes of nothing: no disk of a test holds them twice, and a sparse file takes none.
    let names = ds_arch::parameters(&model).into_iter().map(|p| (p.name, p.shape));
    let biases = model.moe_layers().map(|layer| (ds_arch::gate_bias_name(layer), vec![model.moe.n_experts]));
    let (mut header, mut at) = (serde_json::Map::new(), 0_u64);
    for (name, shape) in names.chain(biases) {
        let end = at + shape.iter().map(|&size| u64::from(size)).product::<u64>() * 4;
        header.insert(name, serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [at, end] }));
        at = end;
    }
    let text = serde_json::to_vec(&header).unwrap();
    fs::create_dir(place.at("hf")).unwrap();
    fs::write(place.at("hf/config.json"), config(&model, "F32")).unwrap();
    let path = place.at("hf/model.safetensors");
    fs::write(&path, [&(text.len() as u64).to_le_bytes()[..], &text].concat()).unwrap();
    let length = 8 + text.len() as u64 + at;
    fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
    let error = import(&place.at("hf"), &place.at("ckpt")).unwrap_err();
    let BridgeError::Room { needed, free, .. } = error else { panic!("{error}") };
    assert!(needed > length && free < needed, "{needed} {free}");
    assert_eq!(place.names(), ["hf"]);
}
