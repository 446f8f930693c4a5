//! Twenty steps of AdamW from the golden weights, with fixed biases and with loss-free ones.

use std::collections::HashMap;

use ds_arch::gate_bias_name;
use ds_kernels::{AdamW, fused_adamw, norms};
use ds_model::{BiasStep, StageModel, StagePart, update_bias};
use serde_json::Value;
use tch::{Kind, Tensor};

use super::case::{self, setting};
use super::config;
use crate::compare::Furthest;
use crate::folder::{Folder, device};

/// A choice whose margin in the golden run is smaller may fall the other way in f32: AdamW divides gradients by their
/// own size, so that rounding of the smallest ones grows within twenty steps to differences of scores of about this.
const NEAR_TIE: f64 = 3e-5;

pub(super) fn fixed_bias(folder: &Folder, kind: Kind) -> String {
    check(folder, kind, "train20", "plain")
}

pub(super) fn loss_free(folder: &Folder, kind: Kind) -> String {
    check(folder, kind, "train20_lfb", "lfb")
}

fn check(folder: &Folder, kind: Kind, curve: &str, sensitivity: &str) -> String {
    let about = folder.json("train20.json");
    let curve_of_kind = if kind == Kind::Double { format!("{curve}_f64") } else { curve.to_owned() };
    let golden = &about[&curve_of_kind];
    let own = case::own_difference(folder, &format!("/train20_sensitivity_max_abs_loss_diff_vs_f64/{sensitivity}"));
    let allowed = 3e-5_f64.max(2.0 * own);
    let mut run = Run::new(folder, kind, &about);
    let mut losses = Furthest::new(allowed);
    let n_steps = golden["loss"].as_array().expect("losses").len();
    for step in 0..n_steps {
        let (loss, norm) = run.step(step as i64);
        let at = |name: &str| golden[name][step].as_f64().unwrap_or_else(|| panic!("{name} of step {step}"));
        let (off, margin) = ((loss - at("loss")).abs(), at("min_router_margin"));
        if kind == Kind::Float && off > allowed && margin < NEAR_TIE {
            return format!(
                "{}; at step {step} a choice is {margin:.1e} from a tie and falls the other way",
                losses.report()
            );
        }
        losses.see(&format!("loss of step {step}"), off);
        let norm_off = (norm / at("grad_norm") - 1.0).abs();
        assert!(norm_off < 100.0 * allowed, "gradient norm of step {step}: {norm}, golden {}", at("grad_norm"));
        run.update(norm);
        if let Some(speed) = golden["u"].as_f64() {
            run.move_biases(speed);
            run.compare_biases(&golden["bias_after_step"][step], step);
        }
    }
    let end = if curve == "train20" && folder.has("params_after_train20.safetensors") {
        format!("; weights after them: {}", run.compare_weights(folder))
    } else {
        String::new()
    };
    format!("{}{end}", losses.report())
}

/// A run in progress.
struct Run {
    model: StageModel,
    data: HashMap<String, Tensor>,
    about: Value,
    masters: Vec<Tensor>,
    moments: [Vec<Tensor>; 2],
    counts: Vec<Tensor>,
    gradients: Vec<Tensor>,
    loads: Vec<Vec<f64>>,
}

impl Run {
    fn new(folder: &Folder, kind: Kind, about: &Value) -> Self {
        let config = config::read(folder, config::without_mtp());
        let model = case::model(folder, &config, StagePart::whole(&config), kind);
        let masters: Vec<Tensor> = model.parameters().iter().map(|p| p.tensor.detach()).collect();
        let zeros = || masters.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
        let counts = masters.iter().map(|_| Tensor::zeros([], (Kind::Float, device()))).collect();
        let moments = [zeros(), zeros()];
        let data = folder.tensors("train_data.safetensors");
        Self { model, data, about: about.clone(), masters, moments, counts, gradients: Vec::new(), loads: Vec::new() }
    }

    /// Loss, and norm of the gradient before clipping.
    fn step(&mut self, step: i64) -> (f64, f64) {
        let batch = |name: &str| self.data.get(name).map(|t| t.get(step % t.size()[0]));
        let ids = batch("input_ids").expect("input_ids");
        let m = case::microbatch(&ids, &batch("labels").unwrap_or_else(|| ids.copy()));
        let (losses, _, gradients) = case::forward_and_backward(&self.model, &m, &case::mean_loss(&m));
        self.loads = self.loads_of_all_tokens(&m);
        self.gradients = gradients.tensors().iter().map(Tensor::shallow_clone).collect();
        let norm = norms(&self.gradients).expect("norms").iter().map(|n| n * n).sum::<f64>().sqrt();
        (losses.loss.0 / losses.loss.1, norm)
    }

    /// The golden load counts every token, the product's only those with targets.
    fn loads_of_all_tokens(&self, m: &ds_model::Microbatch) -> Vec<Vec<f64>> {
        let mut loads = Vec::new();
        let mut look = |seen: ds_model::Seen<'_>| {
            if let ds_model::Seen::Chosen(_, chosen) = seen {
                let load = chosen.experts.reshape([-1]).bincount(None::<&Tensor>, chosen.scores.size()[1]);
                loads.push(Vec::<f64>::try_from(load.to_kind(Kind::Double)).expect("a load"));
            }
        };
        let input = ds_model::StageInput { microbatch: m, hidden: None };
        let weights = ds_model::LossWeights::default();
        self.model.forward_watched(input, &weights, &ds_model::OneRank, &mut look).expect("a forward pass");
        loads
    }

    fn update(&mut self, norm: f64) {
        let about = &self.about;
        let all_decay = about["weight_decay_on"].as_str().expect("weight_decay_on").starts_with("all");
        let scale = (setting(about, "clip_grad_norm") / (norm + 1e-6)).min(1.0);
        let clipped: Vec<Tensor> = self.gradients.iter().map(|g| g * scale).collect();
        for decays in [true, false] {
            let pick = |all: &[Tensor]| -> Vec<Tensor> {
                let of = all.iter().zip(self.model.parameters());
                of.filter(|(_, p)| (all_decay || p.decays) == decays).map(|(t, _)| t.shallow_clone()).collect()
            };
            let settings = AdamW {
                learning_rate: setting(about, "lr"),
                beta1: about["betas"][0].as_f64().expect("betas"),
                beta2: about["betas"][1].as_f64().expect("betas"),
                weight_decay: if decays { setting(about, "weight_decay") } else { 0.0 },
                eps: setting(about, "eps"),
            };
            let [w, g, m1, m2, c] =
                [&self.masters, &clipped, &self.moments[0], &self.moments[1], &self.counts].map(|all| pick(all));
            fused_adamw(&w, &g, &m1, &m2, &c, settings).expect("an update");
        }
    }

    fn move_biases(&self, speed: f64) {
        for ((_, bias), load) in self.model.biases().iter().zip(&self.loads) {
            update_bias(bias, load, BiasStep::Sign, speed);
        }
    }

    /// Biases move by whole steps of the speed, so that only rounding is left between equal ones.
    fn compare_biases(&self, golden: &Value, step: usize) {
        for (i, (layer, bias)) in self.model.biases().iter().enumerate() {
            let golden: Vec<f64> = serde_json::from_value(golden[i].clone()).expect("biases of a layer");
            let off = crate::compare::greatest_difference(bias, &Tensor::from_slice(&golden));
            assert!(off < 1e-6, "{} after step {step}: {off:.1e} apart", gate_bias_name(*layer));
        }
    }

    fn compare_weights(&self, folder: &Folder) -> String {
        let golden = folder.tensors("params_after_train20.safetensors");
        // The steps of AdamW have the size of the learning rate wherever the gradient is not zero, so rounding of the
        // smallest gradients shows at that size.
        let mut apart = Furthest::new(2e-3);
        for (name, found) in case::logical(&self.model, |i| self.masters[i].shallow_clone()) {
            apart.norms(&name, &found, &golden[&name]);
        }
        apart.report()
    }
}
