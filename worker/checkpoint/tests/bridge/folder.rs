//! Hugging Face folders of small models, and what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow::Continue;
use std::path::{Path, PathBuf};

use ds_arch::hugging_face::{WeightType, is_quantised, scale_name, shared_copies, write};
use ds_arch::{ModelConfig, gate_bias_name, parameters, preset};
use ds_checkpoint::Checkpoint;
use ds_checkpoint::bridge::{BridgeError, Export, ExportOptions, ExportType, Import, Limits, Report};
use safetensors::SafeTensors;

/// A tensor as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// Small enough for a test, with ragged FP8 blocks and one MTP module.
pub(crate) fn model() -> ModelConfig {
    let mut model = preset("tiny").expect("a preset");
    model.hidden_size = 160;
    model.moe.expert_hidden = 24;
    model
}

/// Numbers that look random and are the same every time.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Within ±0.1.
    fn value(&mut self) -> f32 {
        ((self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0) * 0.1
    }
}

/// A tensor of values, or of codes.
pub(crate) fn tensor(dtype: &str, shape: &[u64], chance: &mut Chance) -> Tensor {
    let n = shape.iter().product::<u64>() as usize;
    let mut bytes = Vec::new();
    for _ in 0..n {
        match dtype {
            "F32" => bytes.extend(chance.value().to_le_bytes()),
            "BF16" => bytes.extend(half::bf16::from_f32(chance.value()).to_le_bytes()),
            "F16" => bytes.extend(half::f16::from_f32(chance.value()).to_le_bytes()),
            // Any code that is a number, minus zero included.
            _ => bytes.push(match chance.next() as u8 {
                code if code & 0x7F == 0x7F => 0x80,
                code => code,
            }),
        }
    }
    Tensor { dtype: dtype.to_owned(), shape: shape.to_vec(), bytes }
}

/// Every tensor of a released checkpoint; FP8 where that has it, the others BF16 and biases F32, if `dtype` is F8_E4M3.
pub(crate) fn tensors(model: &ModelConfig, dtype: &str, with_copies: bool) -> Tensors {
    let mut chance = Chance::new(7);
    let mut all = Tensors::new();
    for parameter in parameters(model) {
        let shape: Vec<u64> = parameter.shape.iter().map(|&size| u64::from(size)).collect();
        if dtype == "F8_E4M3" && is_quantised(&parameter.name) {
            let blocks: Vec<u64> = shape.iter().map(|size| size.div_ceil(128)).collect();
            let mut scales = tensor("F32", &blocks, &mut chance);
            // Positive, and of any fraction: no block's largest code need be 448.
            scales.bytes.chunks_exact_mut(4).for_each(|four| four[3] &= 0x7F);
            all.insert(scale_name(&parameter.name), scales);
            all.insert(parameter.name, tensor(dtype, &shape, &mut chance));
        } else {
            let dtype = if dtype == "F8_E4M3" { "BF16" } else { dtype };
            all.insert(parameter.name, tensor(dtype, &shape, &mut chance));
        }
    }
    for layer in model.moe_layers() {
        let dtype = if dtype == "F8_E4M3" { "F32" } else { dtype };
        all.insert(gate_bias_name(layer), tensor(dtype, &[u64::from(model.moe.n_experts)], &mut chance));
    }
    if with_copies {
        for copy in shared_copies(model) {
            all.insert(copy.name, all[copy.of].clone());
        }
    }
    all
}

/// The bytes of a safetensors file.
pub(crate) fn file(tensors: &Tensors) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    header.insert("__metadata__".to_owned(), serde_json::json!({ "format": "pt" }));
    for (name, tensor) in tensors {
        let start = data.len();
        data.extend_from_slice(&tensor.bytes);
        let place = serde_json::json!({
            "dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, data.len()],
        });
        header.insert(name.clone(), place);
    }
    let text = serde_json::to_vec(&header).expect("JSON");
    [(text.len() as u64).to_le_bytes().to_vec(), text, data].concat()
}

pub(crate) fn config(model: &ModelConfig, dtype: &str) -> String {
    let weights = match dtype {
        "F32" => WeightType::F32,
        "F16" => WeightType::F16,
        "BF16" => WeightType::Bf16,
        _ => WeightType::Fp8,
    };
    write(model, weights, Some("{\"bos_token_id\": 0, \"eos_token_id\": 1}")).expect("a config")
}

/// Writes a folder of `n_files` files: one without an index, several with one.
pub(crate) fn save(folder: &Path, config: &str, tensors: &Tensors, n_files: usize) {
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join("config.json"), config).expect("config.json");
    if n_files == 1 {
        fs::write(folder.join("model.safetensors"), file(tensors)).expect("a file");
        return;
    }
    let mut shards = vec![Tensors::new(); n_files];
    let mut map = serde_json::Map::new();
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        // Neighbours in different files, as no writer would have it.
        let shard = i % n_files;
        shards[shard].insert(name.clone(), tensor.clone());
        map.insert(name.clone(), serde_json::json!(shard_name(shard, n_files)));
    }
    for (i, shard) in shards.iter().enumerate() {
        fs::write(folder.join(shard_name(i, n_files)), file(shard)).expect("a file");
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).expect("an index");
}

pub(crate) fn shard_name(shard: usize, n_files: usize) -> String {
    format!("model-{:05}-of-{n_files:05}.safetensors", shard + 1)
}

/// Every tensor of a folder, by way of another reader, and its files' names.
pub(crate) fn load(folder: &Path) -> (Tensors, Vec<String>) {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    let mut all = Tensors::new();
    for name in names.iter().filter(|name| name.ends_with(".safetensors")) {
        let bytes = fs::read(folder.join(name)).expect("a file");
        for (name, view) in SafeTensors::deserialize(&bytes).expect("safetensors").tensors() {
            let tensor = Tensor {
                dtype: format!("{:?}", view.dtype()),
                shape: view.shape().iter().map(|&size| size as u64).collect(),
                bytes: view.data().to_vec(),
            };
            assert!(all.insert(name, tensor).is_none(), "once");
        }
    }
    (all, names)
}

pub(crate) fn import(from: &Path, to: &Path) -> Result<Report, BridgeError> {
    Ok(Import::open(from)?.run(to, Limits::default(), &mut |_| Continue(()))?.1)
}

pub(crate) fn options(weights: ExportType) -> ExportOptions {
    ExportOptions { weights, shard_bytes: 1 << 30, like: None, ema: false }
}

pub(crate) fn export(from: &Path, to: &Path, options: ExportOptions) -> Result<Report, BridgeError> {
    let checkpoint = Checkpoint::open(from)?;
    let model = Export::imported_model(from, &checkpoint)?.expect("it was imported");
    Ok(Export::open(from, checkpoint, model, options)?.run(to, Limits::default(), &mut |_| Continue(()))?.1)
}

/// A place to work in: a source, a checkpoint, a target.
pub(crate) struct Place {
    root: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// What lies there.
    pub(crate) fn names(&self) -> Vec<String> {
        load_names(self.root.path())
    }
}

pub(crate) fn load_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().expect("UTF-8")).collect();
    names.sort();
    names
}
