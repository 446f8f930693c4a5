//! The network against an independent implementation, from the folder of golden data that DSCTL_GOLDEN names:
//! `DSCTL_GOLDEN=... cargo test --release -p ds-model -- --ignored`.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};

use ds_arch::{AttentionConfig, GateScore, GroupLimit, ModelConfig, MoeConfig, MtpConfig, MtpInput, gate_bias_name};
use ds_kernels::{AdamW, fused_adamw, norms};
use ds_model::{
    Gradients, IGNORED, LossWeights, Microbatch, OneRank, StageInput, StageLosses, StageModel, StagePart, update_bias,
};
use serde_json::Value;
use tch::{Device, Kind, Tensor, no_grad};

type Tensors = HashMap<String, Tensor>;

const CASES: [&str; 3] = ["deepseek_v3_tiny", "deepseek_v3_tiny_nonorm", "deepseek_v3_tiny_noqlora"];

struct Case {
    folder: PathBuf,
    config: ModelConfig,
}

impl Case {
    fn open(name: &str, depth: u32, input: MtpInput) -> Self {
        let folder = Path::new(&env::var("DSCTL_GOLDEN").expect("DSCTL_GOLDEN")).join(name);
        let json = json(&folder.join("config_deepseek_style.json"));
        let number = |field: &str| json[field].as_u64().expect("golden data") as u32;
        let config = ModelConfig {
            vocab_size: number("vocab_size"),
            hidden_size: number("hidden_size"),
            n_layers: number("num_hidden_layers"),
            n_dense_layers: number("first_k_dense_replace"),
            dense_hidden: number("intermediate_size"),
            attention: AttentionConfig {
                n_heads: number("num_attention_heads"),
                q_lora_rank: json["q_lora_rank"].as_u64().map(|rank| rank as u32),
                kv_lora_rank: number("kv_lora_rank"),
                qk_nope_dim: number("qk_nope_head_dim"),
                qk_rope_dim: number("qk_rope_head_dim"),
                v_head_dim: number("v_head_dim"),
                rope_theta: json["rope_theta"].as_f64().expect("golden data"),
                max_positions: number("max_position_embeddings"),
            },
            moe: MoeConfig {
                n_experts: number("n_routed_experts"),
                n_shared: number("n_shared_experts"),
                top_k: number("num_experts_per_tok"),
                expert_hidden: number("moe_intermediate_size"),
                groups: match number("n_group") {
                    1 => GroupLimit::AnyGroup,
                    n_groups => GroupLimit::AtMost { n_groups, picked: number("topk_group") },
                },
                score: GateScore::Sigmoid,
                normalise: json["norm_topk_prob"].as_bool().expect("golden data"),
                route_scale: json["routed_scaling_factor"].as_f64().expect("golden data"),
            },
            mtp: MtpConfig { depth, input },
            norm_eps: json["rms_norm_eps"].as_f64().expect("golden data"),
            init_std: 0.02,
        };
        Self { folder, config }
    }

    fn tensors(&self, file: &str) -> Tensors {
        Tensor::read_safetensors(self.folder.join(file)).expect("golden data").into_iter().collect()
    }

    /// The case's weights, and those of its MTP module if the config has one.
    fn model(&self, kind: Kind) -> StageModel {
        let model =
            StageModel::new(&self.config, StagePart::whole(&self.config), Device::Cpu, kind, 0).expect("golden data");
        let mut weights = self.tensors("model.safetensors");
        if self.config.mtp.depth > 0 {
            let mtp = self.tensors("mtp.safetensors");
            weights.extend(mtp.into_iter().filter_map(|(name, t)| Some((name.strip_prefix("w.")?.to_owned(), t))));
        }
        no_grad(|| {
            for (name, mut tensor) in logical(&model, |i| model.parameters()[i].tensor.detach()) {
                tensor.copy_(&weights[&name]);
            }
            for (layer, mut bias) in model.biases() {
                bias.copy_(&weights[&gate_bias_name(layer)]);
            }
        });
        model
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("golden data")).expect("golden data")
}

/// Views of aligned tensors by logical name.
fn logical(model: &StageModel, tensor: impl Fn(usize) -> Tensor) -> Vec<(String, Tensor)> {
    let all = model.parameters().iter().enumerate().flat_map(|(i, stored)| {
        let whole = tensor(i);
        let view =
            move |l: &ds_model::Logical| (l.name.clone(), l.index.map_or(whole.shallow_clone(), |r| whole.get(r)));
        stored.logical.iter().map(view).collect::<Vec<_>>()
    });
    all.collect()
}

/// `values` moved left by `by`, filled up with `pad`.
fn shifted(values: &Tensor, by: i64, pad: i64) -> Tensor {
    let (b, t) = values.size2().expect("golden data");
    Tensor::cat(&[values.narrow(1, by, t - by), Tensor::full([b, by], pad, (Kind::Int64, Device::Cpu))], 1)
}

fn microbatch(ids: &Tensor, labels: &Tensor, depth: u32) -> Microbatch {
    let mtp = (1..=i64::from(depth)).map(|k| (shifted(ids, k, 0), shifted(ids, k + 1, IGNORED)));
    Microbatch { ids_bt: ids.copy(), targets_bt: shifted(labels, 1, IGNORED), mtp: mtp.collect() }
}

fn run(model: &StageModel, m: &Microbatch, weights: LossWeights) -> (StageLosses, Vec<Vec<f64>>, Gradients) {
    let forward = model.forward(StageInput { microbatch: m, hidden: None }, &weights, &OneRank).expect("golden data");
    let mut gradients = Gradients::zeros(model);
    model.backward(forward.saved, None, &mut gradients, &OneRank).expect("golden data");
    (forward.losses, forward.loads.into_iter().map(|(_, load)| load).collect(), gradients)
}

fn same(found: &Tensor, golden: &Tensor, tolerance: f64, what: &str) {
    let (found, golden) = (found.to_kind(Kind::Double), golden.to_kind(Kind::Double));
    let off = (found - &golden).norm().double_value(&[]) / (golden.norm().double_value(&[]) + 1e-6);
    assert!(off < tolerance, "{what}: {off:e}");
}

fn close(found: f64, golden: f64, tolerance: f64, what: &str) {
    assert!((found - golden).abs() < tolerance, "{what}: {found} is not {golden}");
}

#[test]
#[ignore = "needs the folder of golden data in DSCTL_GOLDEN"]
fn loss_and_gradients_are_those_of_the_golden_network() {
    for case in CASES {
        for kind in [Kind::Float, Kind::Double] {
            let golden = Case::open(case, 0, MtpInput::PostNorm);
            let (model, inputs, expected) =
                (golden.model(kind), golden.tensors("forward.safetensors"), golden.tensors("grads.safetensors"));
            let m = microbatch(&inputs["input_ids"], &inputs["labels"], 0);
            let n = m.targets_bt.ne(IGNORED).sum(Kind::Int64).int64_value(&[]) as f64;
            let (losses, _, gradients) = run(&model, &m, LossWeights { token: 1.0 / n, ..LossWeights::default() });
            close(losses.loss.0 / losses.loss.1, inputs["loss"].double_value(&[0]), 1e-5, case);
            for (name, gradient) in logical(&model, |i| gradients.tensors()[i].shallow_clone()) {
                let golden = expected.get(&name).or_else(|| expected.get(&format!("grad.{name}")));
                same(&gradient, golden.expect("a golden gradient"), 2e-5, &format!("{case} {kind:?} {name}"));
            }
        }
    }
}

#[test]
#[ignore = "needs the folder of golden data in DSCTL_GOLDEN"]
fn so_are_those_of_mtp_before_and_after_the_norm() {
    for case in CASES {
        for (input, prefix) in [(MtpInput::PostNorm, "postnorm"), (MtpInput::PreNorm, "prenorm")] {
            let golden = Case::open(case, 1, input);
            let (model, expected) = (golden.model(Kind::Float), golden.tensors("mtp.safetensors"));
            let ids = &expected["input_ids"];
            let m = microbatch(ids, ids, 1);
            let (b, t) = ids.size2().expect("golden data");
            let weights = LossWeights { mtp: 1.0 / (b * (t - 2)) as f64, ..LossWeights::default() };
            let (losses, _, gradients) = run(&model, &m, weights);
            close(losses.mtp.0 / losses.mtp.1, expected[&format!("{prefix}.loss")].double_value(&[0]), 1e-5, case);
            let mut compared = 0;
            for (name, gradient) in logical(&model, |i| gradients.tensors()[i].shallow_clone()) {
                let key = match name.as_str() {
                    "lm_head.weight" => format!("{prefix}.grad_lm_head"),
                    _ => format!("{prefix}.grad.{name}"),
                };
                if let Some(golden) = expected.get(&key) {
                    same(&gradient, golden, 2e-5, &format!("{case} {key}"));
                    compared += 1;
                }
            }
            assert!(compared > 60, "{compared} gradients");
        }
    }
}

#[test]
#[ignore = "needs the folder of golden data in DSCTL_GOLDEN"]
fn twenty_steps_of_training_follow_the_golden_curves() {
    for case in CASES {
        for curve in ["train20", "train20_lfb"] {
            train(case, curve);
        }
    }
}

fn train(case: &str, curve: &str) {
    let golden = Case::open(case, 0, MtpInput::PostNorm);
    let (model, data) = (golden.model(Kind::Float), golden.tensors("train_data.safetensors"));
    let about = json(&golden.folder.join("train20.json"));
    let number = |field: &str| about[field].as_f64().expect("golden data");
    let all_decay = about["weight_decay_on"].as_str().expect("golden data").starts_with("all");
    let masters: Vec<Tensor> = model.parameters().iter().map(|p| p.tensor.detach()).collect();
    let zeros = || masters.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
    let (moments1, moments2) = (zeros(), zeros());
    let counts: Vec<Tensor> = masters.iter().map(|_| Tensor::zeros([], (Kind::Float, Device::Cpu))).collect();
    for step in 0..20 {
        let batch = |name: &str| data.get(name).map(|t| t.get(step as i64 % t.size()[0]));
        let ids = batch("input_ids").expect("ids");
        let m = microbatch(&ids, &batch("labels").unwrap_or_else(|| ids.copy()), 0);
        let n = m.targets_bt.ne(IGNORED).sum(Kind::Int64).int64_value(&[]) as f64;
        let (losses, _, gradients) = run(&model, &m, LossWeights { token: 1.0 / n, ..LossWeights::default() });
        let what = format!("{case} {curve} step {step}");
        close(losses.loss.0 / n, about[curve]["loss"][step].as_f64().expect("golden data"), 2e-4, &what);
        let norm = norms(gradients.tensors()).expect("golden data").iter().map(|n| n * n).sum::<f64>().sqrt();
        close(norm, about[curve]["grad_norm"][step].as_f64().expect("golden data"), 5e-3, &what);
        let scale = (number("clip_grad_norm") / (norm + 1e-6)).min(1.0);
        let clipped: Vec<Tensor> = gradients.tensors().iter().map(|g| g * scale).collect();
        for decays in [true, false] {
            let pick = |all: &[Tensor]| -> Vec<Tensor> {
                let picked = all.iter().zip(model.parameters()).filter(|(_, p)| (all_decay || p.decays) == decays);
                picked.map(|(t, _)| t.shallow_clone()).collect()
            };
            let settings = AdamW {
                learning_rate: number("lr"),
                beta1: about["betas"][0].as_f64().expect("golden data"),
                beta2: about["betas"][1].as_f64().expect("golden data"),
                weight_decay: if decays { number("weight_decay") } else { 0.0 },
                eps: number("eps"),
            };
            let [w, g, m1, m2, c] = [&masters, &clipped, &moments1, &moments2, &counts].map(|all| pick(all));
            fused_adamw(&w, &g, &m1, &m2, &c, settings).expect("golden data");
        }
        if let Some(speed) = about[curve]["u"].as_f64() {
            for (i, (_, bias)) in model.biases().iter().enumerate() {
                // The golden load counts all tokens, ours those with targets: the golden one drives the bias here.
                let load = &about[curve]["load_per_step"][step];
                let load = load.get(i).or_else(|| load.get((i + 1).to_string())).expect("a load of the layer");
                let load: Vec<f64> =
                    load.as_array().expect("golden data").iter().map(|v| v.as_f64().expect("golden data")).collect();
                update_bias(bias, &load, speed);
            }
        }
    }
}
