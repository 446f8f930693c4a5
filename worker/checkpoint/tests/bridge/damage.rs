//! Whatever somebody made of a folder: it is refused with a sentence that names it, and nothing is left half-written.

use std::fs::{self, File};
use std::ops::ControlFlow::Continue;
use std::path::Path;

use ds_checkpoint::Checkpoint;
use ds_checkpoint::bridge::{Export, ExportType, Import, Limits};
use serde_json::{Value, json};

use crate::folder::{Place, Tensor, Tensors, config, export, import, model, options, save, shard_name, tensors};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const NORM: &str = "model.norm.weight";
const GATE: &str = "model.layers.0.mlp.gate_proj.weight";
const SCALES: &str = "model.layers.0.mlp.gate_proj.weight_scale_inv";

/// That a good folder of `n_files` files, once changed, is refused with these words and nothing else is there.
fn refused(dtype: &str, n_files: usize, change: impl Fn(&Path), expected: &[&str]) {
    let (place, model) = (Place::new(), model());
    save(&place.at("hf"), &config(&model, dtype), &tensors(&model, dtype, true), n_files);
    change(&place.at("hf"));
    nothing_came(&place, expected);
}

/// That good files with other tensors are refused.
fn refused_tensors(dtype: &str, change: impl Fn(&mut Tensors), expected: &[&str]) {
    let (place, model) = (Place::new(), model());
    let mut all = tensors(&model, dtype, true);
    change(&mut all);
    save(&place.at("hf"), &config(&model, dtype), &all, 1);
    nothing_came(&place, expected);
}

fn nothing_came(place: &Place, expected: &[&str]) {
    let said = import(&place.at("hf"), &place.at("ckpt")).expect_err(expected[0]).to_string();
    assert!(expected.iter().all(|words| said.contains(words)), "{expected:?}: {said}");
    assert_eq!(place.names(), ["hf"], "{said}");
}

fn edit(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Another text where the header was; the tensors stay behind it.
fn edit_header(path: &Path, change: impl Fn(String) -> String) {
    edit(path, |bytes| {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let text = change(String::from_utf8(bytes[8..8 + length].to_vec()).unwrap());
        let new = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &bytes[8 + length..]].concat();
        *bytes = new;
    });
}

fn edit_entry(path: &Path, name: &str, change: impl Fn(&mut Value)) {
    edit_header(path, |text| {
        let mut header: Value = serde_json::from_str(&text).unwrap();
        change(&mut header[name]);
        header.to_string()
    });
}

fn edit_index(folder: &Path, change: impl Fn(&mut Value)) {
    let path = folder.join(INDEX);
    let mut index: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut index["weight_map"]);
    fs::write(path, index.to_string()).unwrap();
}

#[test]
fn headers_that_lie_about_their_length() {
    for length in [u64::MAX, u64::MAX - 7, 1 << 40, (1 << 63) + 1] {
        let lie = |folder: &Path| edit(&folder.join(SINGLE), |bytes| bytes[..8].copy_from_slice(&length.to_le_bytes()));
        refused("BF16", 1, lie, &[SINGLE, "its header would have", &length.to_string()]);
    }
    // As long as it says, and far longer than any header is: not read at all.
    let long = |folder: &Path| {
        edit(&folder.join(SINGLE), |bytes| bytes[..8].copy_from_slice(&(1_u64 << 32).to_le_bytes()));
        File::options().write(true).open(folder.join(SINGLE)).unwrap().set_len(1 << 33).unwrap();
    };
    refused("BF16", 1, long, &["its header would have 4294967296 bytes", "are the most"]);
    let text = |text: &'static str| move |folder: &Path| edit_header(&folder.join(SINGLE), |_| text.to_owned());
    refused("BF16", 1, text(""), &[SINGLE, "its header"]);
    refused("BF16", 1, text("[]"), &[SINGLE, "its header"]);
    refused("BF16", 1, text("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}"), &["its header"]);
    let deep = |folder: &Path| edit_header(&folder.join(SINGLE), |_| "[".repeat(1 << 20));
    refused("BF16", 1, deep, &[SINGLE, "its header"]);
    let twice = |folder: &Path| {
        edit_header(&folder.join(SINGLE), |text| {
            let norm = json!({ "dtype": "BF16", "shape": [160], "data_offsets": [0, 320] });
            text.replacen('{', &format!("{{\"{NORM}\":{norm},"), 1)
        });
    };
    refused("BF16", 1, twice, &["model.norm.weight is there twice"]);
}

#[test]
fn offsets_that_do_not_fit() {
    let offsets = |change: fn(&mut u64, &mut u64)| {
        move |folder: &Path| {
            edit_entry(&folder.join(SINGLE), NORM, |entry| {
                let of = |i: usize| entry["data_offsets"][i].as_u64().unwrap();
                let (mut start, mut end) = (of(0), of(1));
                change(&mut start, &mut end);
                entry["data_offsets"] = json!([start, end]);
            });
        }
    };
    let shift = offsets(|start, end| (*start, *end) = (*start - 2, *end - 2));
    refused("BF16", 1, shift, &["overlap"]);
    refused("BF16", 1, offsets(|start, end| (*start, *end) = (0, *end - *start)), &["overlap"]);
    refused("BF16", 1, offsets(std::mem::swap), &[NORM, "before its start"]);
    refused("BF16", 1, offsets(|_, end| *end = u64::MAX), &[NORM, "ends at byte 18446744073709551615"]);
    refused("BF16", 1, offsets(|_, end| *end -= 2), &[NORM, "has 318 bytes, but BF16 [160] takes 320"]);
    let spare = |folder: &Path| edit(&folder.join(SINGLE), |bytes| bytes.extend([0; 5]));
    refused("BF16", 1, spare, &["nothing holds its last 5 bytes"]);
}

#[test]
fn files_that_are_cut_or_no_files() {
    for cut in [0, 1, 7, 8, 20, 5000] {
        refused("BF16", 1, |folder| edit(&folder.join(SINGLE), |bytes| bytes.truncate(cut)), &[SINGLE]);
    }
    let last = |folder: &Path| edit(&folder.join(shard_name(1, 3)), |bytes| bytes.truncate(bytes.len() - 1));
    refused("F8_E4M3", 3, last, &["model-00002-of-00003.safetensors", "ends at byte"]);
    let folder_instead = |folder: &Path| {
        fs::remove_file(folder.join(SINGLE)).unwrap();
        fs::create_dir(folder.join(SINGLE)).unwrap();
    };
    refused("BF16", 1, folder_instead, &[SINGLE, "a folder, not a file"]);
    let pipe = |folder: &Path| {
        fs::remove_file(folder.join(SINGLE)).unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.join(SINGLE)).status();
        assert!(made.is_ok_and(|status| status.success()));
    };
    refused("BF16", 1, pipe, &[SINGLE, "a device or pipe, not a file"]);
    refused("BF16", 1, |folder| fs::remove_file(folder.join(SINGLE)).unwrap(), &["has neither model.safetensors"]);
}

#[test]
fn tensors_that_are_not_the_models() {
    let retype = |name: &'static str, dtype: &'static str| {
        move |all: &mut Tensors| {
            let tensor = all.get_mut(name).unwrap();
            let size = if dtype == "F64" { 8 } else { 1 };
            let n = tensor.shape.iter().product::<u64>() as usize * size;
            *tensor = Tensor { dtype: dtype.to_owned(), shape: tensor.shape.clone(), bytes: vec![0; n] };
        }
    };
    for dtype in ["F64", "I8", "F8_E5M2", "BOOL", "F8_E8M0"] {
        let words = format!("{NORM} has elements of type {dtype}");
        refused_tensors("BF16", retype(NORM, dtype), &[&words, "F32, BF16, F16 and F8_E4M3 are read"]);
    }
    refused_tensors("BF16", retype(GATE, "F8_E4M3"), &[GATE, "weight_scale_inv is missing"]);
    refused_tensors("BF16", retype(NORM, "F8_E4M3"), &[NORM, "weight_scale_inv is missing"]);
    refused_tensors("BF16", |all| drop(all.remove(NORM)), &["model.norm.weight [160] is missing"]);
    let stranger = |all: &mut Tensors| drop(all.insert("lora.a".to_owned(), all[NORM].clone()));
    refused_tensors("BF16", stranger, &["lora.a is none of the model's"]);
    let turned = |all: &mut Tensors| all.get_mut(GATE).unwrap().shape.reverse();
    refused_tensors("BF16", turned, &[GATE, "has shape", "the config makes it"]);
    let flat = |all: &mut Tensors| all.get_mut(NORM).unwrap().shape = vec![160, 1];
    refused_tensors("BF16", flat, &["model.norm.weight has shape [160, 1], the config makes it [160]"]);
    // All of them at once, so that nobody mends one a day.
    let both = |all: &mut Tensors| {
        all.remove(NORM);
        all.remove(GATE);
    };
    refused_tensors("BF16", both, &[NORM, GATE]);
}

#[test]
fn shapes_that_overflow() {
    let shapes: &[&[u64]] = &[&[u64::MAX], &[1 << 63, 4], &[1 << 32, 1 << 32], &[u64::MAX, u64::MAX, u64::MAX]];
    for shape in shapes {
        let lie = |folder: &Path| edit_entry(&folder.join(SINGLE), NORM, |entry| entry["shape"] = json!(shape));
        refused("BF16", 1, lie, &[NORM, "has shape", "which is more than"]);
    }
    let many = |folder: &Path| edit_entry(&folder.join(SINGLE), NORM, |entry| entry["shape"] = json!(vec![1; 1 << 16]));
    refused("BF16", 1, many, &[NORM, "has 320 bytes"]);
    let none = |folder: &Path| edit_entry(&folder.join(SINGLE), NORM, |entry| entry["shape"] = json!([0, 1_u64 << 62]));
    refused("BF16", 1, none, &[NORM, "has 320 bytes"]);
    let big = |folder: &Path| edit_entry(&folder.join(SINGLE), NORM, |entry| entry["shape"] = json!([1e30]));
    refused("BF16", 1, big, &["its header"]);
}

#[test]
fn an_index_that_lies() {
    let elsewhere = |file: &'static str| move |folder: &Path| edit_index(folder, |map| map[NORM] = json!(file));
    let ways_out =
        ["../x.safetensors", "/etc/passwd", "a/x.safetensors", "..", "", "a/../../x.safetensors", "..\\x.safetensors"];
    for way_out in ways_out {
        let place_outside = |folder: &Path| {
            let good = folder.join(shard_name(0, 3));
            fs::copy(good, folder.join("x.safetensors")).unwrap();
            elsewhere(way_out)(folder);
        };
        refused("BF16", 3, place_outside, &[INDEX, NORM, "which is no name of a file beside it"]);
    }
    let gone = |folder: &Path| fs::remove_file(folder.join(shard_name(1, 3))).unwrap();
    refused("BF16", 3, gone, &["model-00002-of-00003.safetensors cannot be read"]);
    let nowhere = |folder: &Path| edit_index(folder, |map| map["ghost"] = json!("model-00009-of-00003.safetensors"));
    refused("BF16", 3, nowhere, &["model-00009-of-00003.safetensors cannot be read"]);
    let other = |folder: &Path| {
        edit_index(folder, |map| {
            let (is, next) = (map[NORM].clone(), [0, 1].map(|i| json!(shard_name(i, 3))));
            map[NORM] = next.into_iter().find(|name| *name != is).unwrap();
        });
    };
    refused("BF16", 3, other, &[NORM, "is in"]);
    let silent = |folder: &Path| edit_index(folder, |map| drop(map.as_object_mut().unwrap().remove(NORM)));
    refused("BF16", 3, silent, &["it does not name model.norm.weight"]);
    let more = |folder: &Path| edit_index(folder, |map| map["ghost"] = map[NORM].clone());
    refused("BF16", 3, more, &["ghost", "which does not have it"]);
    let empty = |folder: &Path| edit_index(folder, |map| *map = json!({}));
    refused("BF16", 3, empty, &["it names no tensor"]);
    let twice = |folder: &Path| {
        edit(&folder.join(INDEX), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let doubled = format!("\"weight_map\":{{\"{NORM}\":\"{}\",", shard_name(0, 3));
            *bytes = text.replacen("\"weight_map\":{", &doubled, 1).into_bytes();
        });
    };
    refused("BF16", 3, twice, &["is there twice"]);
    let both = |folder: &Path| assert!(fs::copy(folder.join(shard_name(0, 3)), folder.join(SINGLE)).unwrap() > 0);
    refused("BF16", 3, both, &["which one counts?"]);
}

#[test]
fn scales_that_cannot_scale() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -1.0, f32::MIN_POSITIVE / 2.0, f32::MAX] {
        let bad = |all: &mut Tensors| all.get_mut(SCALES).unwrap().bytes[4..8].copy_from_slice(&value.to_le_bytes());
        refused_tensors("F8_E4M3", bad, &[GATE, "the scale of block (0, 1) is", "is needed"]);
    }
    refused_tensors("F8_E4M3", |all| drop(all.remove(SCALES)), &[GATE, "weight_scale_inv is missing"]);
    let half = |all: &mut Tensors| {
        let scales = all.get_mut(SCALES).unwrap();
        scales.dtype = "BF16".to_owned();
        scales.bytes.truncate(scales.bytes.len() / 2);
    };
    refused_tensors("F8_E4M3", half, &["weight_scale_inv has elements of type BF16; scales are F32"]);
    let few = |all: &mut Tensors| {
        let scales = all.get_mut(SCALES).unwrap();
        scales.shape[1] -= 1;
        scales.bytes.truncate(scales.shape.iter().product::<u64>() as usize * 4);
    };
    refused_tensors("F8_E4M3", few, &[SCALES, "has shape"]);
    for code in [0x7F, 0xFF] {
        let no_number = |all: &mut Tensors| all.get_mut(GATE).unwrap().bytes[161] = code;
        refused_tensors("F8_E4M3", no_number, &[GATE, "element (1, 1) is no number"]);
    }
}

#[test]
fn configs_that_promise_something_else() {
    let set = |key: &'static str, value: Value| {
        move |folder: &Path| {
            let path = folder.join("config.json");
            let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            config[key] = value.clone();
            fs::write(path, config.to_string()).unwrap();
        }
    };
    refused("BF16", 1, |folder| fs::remove_file(folder.join("config.json")).unwrap(), &["config.json cannot be read"]);
    refused("BF16", 1, |folder| fs::write(folder.join("config.json"), "{").unwrap(), &["config.json"]);
    let long = |folder: &Path| File::create(folder.join("config.json")).unwrap().set_len(1 << 40).unwrap();
    refused("BF16", 1, long, &["config.json has 1099511627776 bytes"]);
    refused("BF16", 1, set("hidden_size", json!(1_u64 << 60)), &["hidden_size"]);
    refused("BF16", 1, set("num_hidden_layers", json!(1e9)), &["num_hidden_layers"]);
    refused("BF16", 1, set("n_routed_experts", json!(-1)), &["n_routed_experts"]);
    refused("BF16", 1, set("model_type", json!("llama")), &["model_type"]);
    refused(
        "BF16",
        1,
        set("hidden_size", json!(161)),
        &["input_layernorm.weight has shape [160], the config makes it [161]"],
    );
}

#[test]
fn a_copy_that_differs_and_a_file_that_changes_meanwhile() {
    let (place, model) = (Place::new(), model());
    let mut all = tensors(&model, "BF16", true);
    let copy = format!("model.layers.{}.embed_tokens.weight", model.n_layers);
    all.get_mut(&copy).unwrap().bytes[3] ^= 1;
    save(&place.at("hf"), &config(&model, "BF16"), &all, 1);
    nothing_came(&place, &[&copy, "must repeat model.embed_tokens.weight", "differs from byte 3 on"]);

    save(&place.at("hf"), &config(&model, "BF16"), &tensors(&model, "BF16", true), 1);
    let opened = Import::open(&place.at("hf")).unwrap();
    edit(&place.at("hf").join(SINGLE), |bytes| *bytes.last_mut().unwrap() ^= 1);
    let said = opened.run(&place.at("ckpt"), Limits::default(), &mut |_| Continue(())).unwrap_err().to_string();
    assert!(said.contains("changed while it was read"), "{said}");
    assert_eq!(place.names(), ["hf"]);
}

#[test]
fn a_checkpoint_that_is_damaged_is_not_exported() {
    let (place, model) = (Place::new(), model());
    save(&place.at("hf"), &config(&model, "BF16"), &tensors(&model, "BF16", true), 1);
    fs::write(place.at("hf/tokenizer.json"), "{}").unwrap();
    import(&place.at("hf"), &place.at("ckpt")).unwrap();
    let part = place.at("ckpt/part-00000.safetensors");
    edit(&part, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let said = export(&place.at("ckpt"), &place.at("out"), options(ExportType::Stored)).unwrap_err().to_string();
    assert!(said.contains("part-00000.safetensors") && said.contains("is damaged"), "{said}");
    assert_eq!(place.names(), ["ckpt", "hf"]);

    edit(&part, |bytes| *bytes.last_mut().unwrap() ^= 1);
    fs::write(place.at("ckpt/companions/tokenizer.json"), "[]").unwrap();
    let said = export(&place.at("ckpt"), &place.at("out"), options(ExportType::Stored)).unwrap_err().to_string();
    assert!(said.contains("tokenizer.json") && said.contains("is damaged"), "{said}");
    assert!(Checkpoint::open(&place.at("ckpt")).unwrap().verify().unwrap_err().to_string().contains("tokenizer.json"));
    assert_eq!(place.names(), ["ckpt", "hf"]);
}

#[test]
fn what_is_no_number_has_no_code() {
    let (place, model) = (Place::new(), model());
    let mut all = tensors(&model, "F32", false);
    all.get_mut(GATE).unwrap().bytes[640..644].copy_from_slice(&f32::NAN.to_le_bytes());
    save(&place.at("hf"), &config(&model, "F32"), &all, 1);
    import(&place.at("hf"), &place.at("ckpt")).unwrap();
    let said = export(&place.at("ckpt"), &place.at("out"), options(ExportType::Fp8)).unwrap_err().to_string();
    assert!(said.contains(GATE) && said.contains("element (1, 0) is no number"), "{said}");
    assert_eq!(place.names(), ["ckpt", "hf"]);
    let checkpoint = Checkpoint::open(&place.at("ckpt")).unwrap();
    assert!(Export::imported_model(&place.at("ckpt"), &checkpoint).unwrap().is_some());
}
