//! What transformers loads from our export gives our logits. It needs a Python that has transformers 5, torch and
//! safetensors (accelerate too, which it wants for FP8): `make transformers PYTHON=…`; without one the test says that it
//! was not run.
#![cfg(feature = "train")]

use std::path::Path;
use std::process::Command;

use ds_arch::{GroupLimit, ModelConfig, RopeConfig, gate_bias_name, preset};
use ds_checkpoint::{Draft, Dtype, RecordKind, Shard, TrainState};
use ds_model::{IGNORED, LossWeights, Microbatch, OneRank, Seen, StageInput, StageModel, StagePart};
use ds_plan::spec::{read, to_yaml};
use ds_tests::job::Job;
use ds_tests::not_run;
use ds_tests::programs::{dsctl, run};
use tch::{Device, Kind, Tensor, no_grad};

/// Sums of a thousand terms in another order, of logits of about 1.
const FLOOR: f64 = 2e-5;

#[test]
fn what_transformers_loads_from_an_export_gives_our_logits() {
    let Some(python) = std::env::var_os("TRANSFORMERS_PYTHON") else {
        not_run("TRANSFORMERS_PYTHON names no Python with transformers");
        return;
    };
    for (name, model) in networks() {
        for flag in ["--dtype=stored", "--dtype=bf16", "--fp8"] {
            let folder = tempfile::tempdir().expect("a folder");
            let at = |name: &str| folder.path().join(name);
            tch::manual_seed(3);
            let tokens = Tensor::randint(i64::from(model.vocab_size), [2, 96], (Kind::Int64, Device::Cpu));
            tokens_file(&tokens, &at("tokens.safetensors"));
            let (first, again) = (at("first"), at("again"));
            save(&random(&model), &model, folder.path(), &first);
            done(&at("home"), &["export", text(&first), text(&at("hf")), flag]);
            // The weights as they were rounded are those that both compute with.
            done(&at("home"), &["import", text(&at("hf")), text(&again)]);
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/transformers_logits.py");
            let out = at("logits.safetensors");
            let mut command = Command::new(&python);
            let (code, versions, said) = run(command.arg(script).arg(at("hf")).arg(at("tokens.safetensors")).arg(&out));
            assert_eq!(code, Some(0), "{said}");
            let theirs = Tensor::read_safetensors(&out).expect("safetensors").swap_remove(0).1;
            let ours = logits(&load(&again, &without_mtp(&model)), &tokens);
            let furthest = (&ours - &theirs).abs().max().double_value(&[]);
            let size = theirs.abs().max().double_value(&[]);
            eprintln!("{name} {flag}: logits up to {size:.3}, furthest apart {furthest:.2e}; {}", versions.trim());
            assert!(furthest < FLOOR * size.max(1.0), "{name} {flag}: {furthest} apart of {size}");
        }
    }
}

/// Every choice that makes other tensors or other arithmetic.
fn networks() -> Vec<(&'static str, ModelConfig)> {
    let mut tiny = preset("tiny").expect("a preset");
    // Several blocks a matrix, all of 128: transformers 5.23 takes a side's blocks for equal ones, so that it would
    // multiply a side of 160, which has blocks of 128 and 32, by scales of 80 and 80.
    (tiny.hidden_size, tiny.dense_hidden) = (256, 384);
    let mut plain = tiny.clone();
    (plain.attention.q_lora_rank, plain.moe.groups, plain.mtp.depth) = (None, GroupLimit::AnyGroup, 0);
    (plain.moe.normalise, plain.moe.route_scale) = (false, 2.5);
    let mut yarn = tiny.clone();
    yarn.attention.rope = RopeConfig { factor: 4.0, original_positions: 64, ..yarn.attention.rope };
    vec![("tiny", tiny), ("no q_lora, no groups, no MTP", plain), ("YaRN", yarn)]
}

/// transformers leaves MTP modules out.
fn without_mtp(model: &ModelConfig) -> ModelConfig {
    let mut model = model.clone();
    model.mtp.depth = 0;
    model
}

fn stage(model: &ModelConfig) -> StageModel {
    StageModel::new(model, StagePart::whole(model), Device::Cpu, Kind::Float, 0).expect("a model")
}

/// Weights by which every part matters, and biases that move choices.
fn random(model: &ModelConfig) -> StageModel {
    let stage = stage(model);
    no_grad(|| {
        for parameter in stage.parameters() {
            let mut weights = parameter.tensor.detach();
            if weights.dim() == 1 {
                let _ = weights.uniform_(0.5, 1.5);
            } else {
                let _ = weights.normal_(0.0, 0.08);
            }
        }
        stage.biases().into_iter().for_each(|(_, mut bias)| drop(bias.normal_(0.0, 0.05)));
    });
    stage
}

/// Every tensor by logical name.
fn logical(stage: &StageModel) -> Vec<(String, RecordKind, Tensor)> {
    let of = |p: &ds_model::StoredParameter| {
        let row = |index: Option<i64>| index.map_or_else(|| p.tensor.detach(), |i| p.tensor.detach().get(i));
        p.logical.iter().map(|l| (l.name.clone(), RecordKind::Weight, row(l.index))).collect::<Vec<_>>()
    };
    let biases = stage.biases().into_iter().map(|(layer, bias)| (gate_bias_name(layer), RecordKind::Bias, bias));
    stage.parameters().iter().flat_map(of).chain(biases).collect()
}

fn save(stage: &StageModel, model: &ModelConfig, folder: &Path, to: &Path) {
    let tensors = logical(stage);
    let shapes: Vec<Vec<u64>> = tensors.iter().map(|(_, _, t)| t.size().iter().map(|&d| d as u64).collect()).collect();
    let ranges: Vec<Vec<_>> = shapes.iter().map(|shape| shape.iter().map(|&d| 0..d).collect()).collect();
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, _, t)| bytes(t)).collect();
    let shard = |i: usize| Shard {
        name: &tensors[i].0,
        kind: tensors[i].1,
        dtype: Dtype::F32,
        shape: &shapes[i],
        range: &ranges[i],
        bytes: &bytes[i],
    };
    let shards: Vec<Shard<'_>> = (0..tensors.len()).map(shard).collect();
    let mut spec = read(&Job::tiny(folder).yaml(), "job.yaml", &[]).expect("the tests' job").spec;
    spec.model = model.clone();
    let draft = Draft::create(folder, 1).expect("a draft");
    let part = draft.write(0, &shards).expect("the tensors");
    let state = TrainState { step: 1, spec_yaml: to_yaml(&spec), ..TrainState::default() };
    let made = draft.folder();
    draft.commit(vec![part], &state).expect("a checkpoint");
    std::fs::rename(made, to).expect("a name");
}

fn load(from: &Path, model: &ModelConfig) -> StageModel {
    let (stage, checkpoint) = (stage(model), ds_checkpoint::Checkpoint::open(from).expect("it opens"));
    for (name, kind, mut tensor) in logical(&stage) {
        let shape: Vec<u64> = tensor.size().iter().map(|&d| d as u64).collect();
        let (dtype, bytes) = checkpoint.read_whole(&name, kind, &shape).expect("a tensor");
        let stored = if dtype == Dtype::BF16 { Kind::BFloat16 } else { Kind::Float };
        let values = Tensor::from_data_size(&bytes, &tensor.size(), stored);
        no_grad(|| tensor.copy_(&values));
    }
    stage
}

fn logits(stage: &StageModel, tokens: &Tensor) -> Tensor {
    let m = Microbatch { ids_bt: tokens.copy(), targets_bt: tokens.full_like(IGNORED), mtp: Vec::new() };
    let mut found = None;
    let mut look = |seen: Seen<'_>| {
        if let Seen::Logits { depth: 0, logits } = seen {
            found.get_or_insert_with(|| logits.detach().copy());
        }
    };
    let input = StageInput { microbatch: &m, hidden: None };
    stage.forward_watched(input, &LossWeights::default(), &OneRank, &mut look).expect("a forward pass");
    let (b, t) = tokens.size2().expect("sequences");
    found.expect("the last stage scores").view([b, t, -1])
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.contiguous();
    let mut bytes = vec![0; tensor.numel() * 4];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

fn tokens_file(tokens: &Tensor, path: &Path) {
    Tensor::write_safetensors(&[("tokens", tokens)], path).expect("the test's folder can be written");
}

fn done(home: &Path, arguments: &[&str]) {
    let (code, stdout, stderr) = run(dsctl(home).args(arguments));
    assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
