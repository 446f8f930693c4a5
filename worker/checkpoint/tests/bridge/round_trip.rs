//! What comes in goes out as it was, tensor by tensor and bit by bit.

use std::fs;
use std::ops::ControlFlow::Continue;

use ds_arch::hugging_face::read;
use ds_checkpoint::bridge::{Export, ExportOptions, ExportType, Import, Limits};
use ds_checkpoint::{Checkpoint, Draft, Dtype, RecordKind, Shard, TrainState};

use crate::folder::{Place, config, export, import, load, model, options, save, tensors};

#[test]
fn every_type_survives_bit_by_bit() {
    for dtype in ["F32", "BF16", "F16", "F8_E4M3"] {
        for (n_files, with_copies) in [(1, false), (3, true)] {
            let (place, model) = (Place::new(), model());
            let (there, text) = (tensors(&model, dtype, with_copies), config(&model, dtype));
            save(&place.at("hf"), &text, &there, n_files);
            import(&place.at("hf"), &place.at("ckpt")).unwrap();
            export(&place.at("ckpt"), &place.at("again"), options(ExportType::Stored)).unwrap();
            let (back, names) = load(&place.at("again"));
            assert!(there == back, "{dtype}: {:?}", there.keys().find(|name| there.get(*name) != back.get(*name)));
            assert_eq!(names, ["config.json", "generation_config.json", "model.safetensors"]);
            let again = fs::read_to_string(place.at("again/config.json")).unwrap();
            assert_eq!(read(&again).unwrap(), read(&text).unwrap());
            let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(json(&again), json(&text), "{dtype}");
            assert_eq!(place.names(), ["again", "ckpt", "hf"]);
        }
    }
}

#[test]
fn a_checkpoint_that_was_imported_is_whole_and_holds_what_training_reads() {
    let (place, model) = (Place::new(), model());
    save(&place.at("hf"), &config(&model, "F8_E4M3"), &tensors(&model, "F8_E4M3", true), 2);
    let opened = Import::open(&place.at("hf")).unwrap().with_part_bytes(50_000);
    assert_eq!(opened.model(), &model);
    let planned: Vec<u64> = opened.files().unwrap().into_iter().map(|(_, bytes)| bytes).collect();
    let (_, report) = opened.run(&place.at("ckpt"), Default::default(), &mut |_| Continue(())).unwrap();
    assert!(report.n_files > 5 && report.n_files == planned.len() && report.n_resumed == 0, "{report:?}");
    assert_eq!(report.bytes, planned.iter().sum::<u64>());
    let checkpoint = Checkpoint::open(&place.at("ckpt")).unwrap();
    checkpoint.verify().unwrap();
    assert_eq!(checkpoint.state().step, 0);
    for parameter in ds_arch::parameters(&model) {
        let range: Vec<_> = parameter.shape.iter().map(|&size| 0..u64::from(size)).collect();
        checkpoint.read(&parameter.name, RecordKind::Weight, &range).unwrap();
    }
    let all = 0..u64::from(model.moe.n_experts);
    let experts = std::slice::from_ref(&all);
    for layer in model.moe_layers() {
        let (dtype, _) = checkpoint.read(&ds_arch::gate_bias_name(layer), RecordKind::Bias, experts).unwrap();
        assert_eq!(dtype, Dtype::F32);
    }
    assert!(checkpoint.records().iter().all(|r| !matches!(r.kind, RecordKind::Moment1 | RecordKind::Moment2)));
}

#[test]
fn codes_become_code_times_scale() {
    let (place, model) = (Place::new(), model());
    let there = tensors(&model, "F8_E4M3", false);
    save(&place.at("hf"), &config(&model, "F8_E4M3"), &there, 1);
    import(&place.at("hf"), &place.at("ckpt")).unwrap();
    let name = "model.layers.0.mlp.gate_proj.weight";
    let (codes, scales) = (&there[name], &there[&format!("{name}_scale_inv")].bytes);
    let (rows, columns) = (codes.shape[0] as usize, codes.shape[1] as usize);
    assert!(columns > 128, "two blocks a row");
    let ranges = [0..rows as u64, 0..columns as u64];
    let (dtype, bytes) = Checkpoint::open(&place.at("ckpt")).unwrap().read(name, RecordKind::Weight, &ranges).unwrap();
    assert_eq!(dtype, Dtype::F32);
    let single = |bytes: &[u8], i: usize| f32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap());
    for i in 0..rows * columns {
        let scale = single(scales, (i / columns / 128) * columns.div_ceil(128) + i % columns / 128);
        assert_eq!(single(&bytes, i), ds_arch::e4m3::decode(codes.bytes[i]) * scale, "{i}");
    }
}

#[test]
fn a_config_may_promise_mtp_modules_that_no_file_has() {
    let (place, model) = (Place::new(), model());
    let mut without = tensors(&model, "BF16", false);
    without.retain(|name, _| !name.starts_with(&format!("model.layers.{}.", model.n_layers)));
    save(&place.at("hf"), &config(&model, "BF16"), &without, 1);
    assert_eq!(Import::open(&place.at("hf")).unwrap().n_missing_mtp(), 1);
    import(&place.at("hf"), &place.at("ckpt")).unwrap();
    export(&place.at("ckpt"), &place.at("again"), options(ExportType::Stored)).unwrap();
    assert!(load(&place.at("again")).0 == without);
    let again = fs::read_to_string(place.at("again/config.json")).unwrap();
    assert_eq!(read(&again).unwrap().model.mtp.depth, 0);
}

#[test]
fn rotary_frequencies_of_older_files_are_left_out() {
    let (place, model) = (Place::new(), model());
    let there = tensors(&model, "F32", false);
    let mut more = there.clone();
    more.insert("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), there["model.norm.weight"].clone());
    save(&place.at("hf"), &config(&model, "F32"), &more, 1);
    assert_eq!(Import::open(&place.at("hf")).unwrap().n_derived(), 1);
    import(&place.at("hf"), &place.at("ckpt")).unwrap();
    export(&place.at("ckpt"), &place.at("again"), options(ExportType::Stored)).unwrap();
    assert!(load(&place.at("again")).0 == there);
}

#[test]
fn averages_go_out_in_place_of_weights_where_there_are_some() {
    let (place, model) = (Place::new(), model());
    let draft = Draft::create(&place.at("ckpt"), 3).unwrap();
    let folder = draft.folder();
    let mut kept = Vec::new();
    for parameter in ds_arch::parameters(&model) {
        let shape: Vec<u64> = parameter.shape.iter().map(|&size| u64::from(size)).collect();
        let n = shape.iter().product::<u64>() as usize;
        kept.push((parameter.name.clone(), RecordKind::Weight, shape.clone(), vec![1_u8; 4 * n]));
        kept.push((parameter.name, RecordKind::Ema, shape, vec![2_u8; 4 * n]));
    }
    for layer in model.moe_layers() {
        let n = model.moe.n_experts;
        kept.push((ds_arch::gate_bias_name(layer), RecordKind::Bias, vec![n.into()], vec![3_u8; 4 * n as usize]));
    }
    let ranges: Vec<Vec<_>> = kept.iter().map(|(_, _, shape, _)| shape.iter().map(|&size| 0..size).collect()).collect();
    let shards: Vec<Shard<'_>> = kept
        .iter()
        .zip(&ranges)
        .map(|((name, kind, shape, bytes), range)| Shard { name, kind: *kind, dtype: Dtype::F32, shape, range, bytes })
        .collect();
    let part = draft.write(0, &shards).unwrap();
    draft.commit(vec![part], &TrainState { step: 3, ..TrainState::default() }).unwrap();

    let go_out = |ema, to: &str| {
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let options = ExportOptions { ema, ..options(ExportType::Stored) };
        let export = Export::open(&folder, checkpoint, model.clone(), options).unwrap();
        export.run(&place.at(to), Limits::default(), &mut |_| Continue(())).unwrap();
        load(&place.at(to)).0
    };
    for (name, tensor) in go_out(true, "averages") {
        let byte = if name.ends_with("e_score_correction_bias") { 3 } else { 2 };
        assert!(tensor.bytes.iter().all(|&b| b == byte), "{name}");
    }
    assert!(go_out(false, "weights").iter().any(|(_, tensor)| tensor.bytes[0] == 1));

    // A run without averages says so.
    save(&place.at("hf"), &config(&model, "F32"), &tensors(&model, "F32", true), 1);
    import(&place.at("hf"), &place.at("plain")).unwrap();
    let told =
        export(&place.at("plain"), &place.at("none"), ExportOptions { ema: true, ..options(ExportType::Stored) });
    assert!(told.unwrap_err().to_string().contains("no moving averages"));
    assert!(!place.at("none").exists());
}
