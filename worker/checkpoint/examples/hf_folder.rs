//! A Hugging Face folder of DeepSeek-V3's names and shapes with chance for weights, BF16, to measure with:
//! `hf_folder DIR [GB]`, 20 unless said, in files of about 4 GB. The network is DeepSeek-V3's with fewer layers and
//! experts.
#![expect(clippy::print_stdout, reason = "it says what it made")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use ds_arch::hugging_face::{WeightType, write};
use ds_arch::{GroupLimit, ModelConfig, gate_bias_name, parameters, preset};
use serde_json::{Map, json};

const SHARD_BYTES: u64 = 4_300_000_000;
/// Bytes that are drawn at once.
const BLOCK: usize = 1 << 20;

/// Name, type, bytes of an element, shape.
type Wanted = (String, &'static str, u64, Vec<u64>);

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().ok_or("name the folder to make")?);
    let bytes = words.next().as_deref().unwrap_or("20").parse::<f64>()? * 1e9;
    let model = network(bytes as u64)?;
    fs::create_dir(&folder)?;
    fs::write(folder.join("config.json"), write(&model, WeightType::Bf16, None)?)?;
    let mut shards: Vec<Vec<Wanted>> = Vec::new();
    let mut held = SHARD_BYTES;
    for tensor in tensors(&model) {
        if held + length(&tensor) > SHARD_BYTES {
            shards.push(Vec::new());
            held = 0;
        }
        held += length(&tensor);
        shards.last_mut().ok_or("a shard was pushed")?.push(tensor);
    }
    let (mut index, mut total) = (Map::new(), 0);
    for (i, shard) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", i + 1, shards.len());
        total += save(&folder.join(&name), shard, i as u64 + 1)?;
        index.extend(shard.iter().map(|tensor| (tensor.0.clone(), json!(name))));
    }
    let index = json!({ "metadata": { "total_size": total }, "weight_map": index });
    fs::write(folder.join("model.safetensors.index.json"), index.to_string())?;
    println!("{}: {} files, {total} bytes", folder.display(), shards.len());
    Ok(())
}

/// As many experts as come nearest to that size.
fn network(bytes: u64) -> Result<ModelConfig, Box<dyn Error>> {
    let of = |n_experts: u32| -> Option<(u64, ModelConfig)> {
        let mut model = preset("deepseek-v3")?;
        (model.n_layers, model.n_dense_layers, model.mtp.depth) = (5, 1, 0);
        (model.moe.n_experts, model.moe.groups) = (n_experts, GroupLimit::AtMost { n_groups: 8, picked: 4 });
        Some((tensors(&model).iter().map(length).sum::<u64>().abs_diff(bytes), model))
    };
    let nearest = (2..=32).filter_map(|per_group| of(8 * per_group)).min_by_key(|(apart, _)| *apart);
    Ok(nearest.ok_or("there is no preset deepseek-v3")?.1)
}

fn tensors(model: &ModelConfig) -> Vec<Wanted> {
    let whole = |shape: &[u32]| shape.iter().map(|&size| u64::from(size)).collect();
    let weights = parameters(model).into_iter().map(|p| (p.name, "BF16", 2, whole(&p.shape)));
    let bias = |layer| (gate_bias_name(layer), "F32", 4, whole(&[model.moe.n_experts]));
    weights.chain(model.moe_layers().map(bias)).collect()
}

fn length((_, _, size, shape): &Wanted) -> u64 {
    shape.iter().product::<u64>() * size
}

/// Returns the bytes of the tensors.
fn save(path: &Path, tensors: &[Wanted], seed: u64) -> Result<u64, Box<dyn Error>> {
    let (mut header, mut at) = (Map::new(), 0);
    for tensor in tensors {
        let (name, dtype, _, shape) = tensor;
        let end = at + length(tensor);
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, end] }));
        at = end;
    }
    let mut text = serde_json::to_vec(&header)?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(text.len() as u64).to_le_bytes())?;
    file.write_all(&text)?;
    let (mut left, mut state, mut block) = (at, seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), vec![0; BLOCK]);
    while left > 0 {
        for eight in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Exponents below 2^-1, so that every half of a single is a number.
            eight.copy_from_slice(&(state & 0xBFFF_BFFF_BFFF_BFFF).to_le_bytes());
        }
        let n = left.min(BLOCK as u64);
        file.write_all(&block[..n as usize])?;
        left -= n;
    }
    file.into_inner()?.sync_all()?;
    Ok(at)
}
