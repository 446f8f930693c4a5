//! The gate: choices, weights, and balance losses.

use std::collections::BTreeSet;

use ds_arch::{BiasUse, GateScore, GroupLimit, GroupScore, MoeConfig};
use ds_model::gate::{Choice, balance, choose};
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::Check;
use crate::compare::Furthest;
use crate::folder::{Folder, Tensors, device, number};

pub(crate) fn checks(folder: &Folder) -> Vec<Check> {
    let about = folder.json("gate.json");
    let cases = about.as_object().expect("an object of cases").clone();
    let (all, names) = (folder.clone(), cases.keys().cloned().collect::<BTreeSet<_>>());
    let each = cases.into_iter().map(|(case, about)| {
        let folder = folder.clone();
        Check::new(case.clone(), move || {
            let tensors = of_case(folder.tensors("gate.safetensors"), &case);
            if about.get("alpha").is_some() { balance_loss(&case, &about, &tensors) } else { choices(&about, &tensors) }
        })
    });
    let complete = Check::new("cases", move || {
        let tensors = all.tensors("gate.safetensors");
        let of: BTreeSet<String> = tensors.keys().filter_map(|key| Some(key.split_once('.')?.0.to_owned())).collect();
        assert_eq!(of, names, "cases of gate.safetensors and of gate.json");
        format!("all {} compared", names.len())
    });
    each.chain([complete]).collect()
}

fn of_case(tensors: Tensors, case: &str) -> Tensors {
    let prefix = format!("{case}.");
    tensors.into_iter().filter_map(|(key, t)| Some((key.strip_prefix(&prefix)?.to_owned(), t))).collect()
}

fn config(about: &Value, has_bias: bool) -> MoeConfig {
    let whole = |field: &str| number(about, field) as u32;
    let is_softmax = about["score_func"] == "softmax" || about["scores"] == "softmax";
    let groups = match about["n_groups"].as_u64() {
        None | Some(1) => GroupLimit::AnyGroup,
        Some(n) => GroupLimit::AtMost { n_groups: n as u32, picked: whole("topk_groups") },
    };
    MoeConfig {
        n_experts: whole("n_experts"),
        n_shared: 0,
        top_k: whole("topk"),
        expert_hidden: 1,
        groups,
        // The released gate takes the best score where it has no bias.
        group_score: if has_bias { GroupScore::TwoBest } else { GroupScore::Best },
        score: if is_softmax { GateScore::Softmax } else { GateScore::Sigmoid },
        bias: BiasUse::Added,
        normalise: !is_softmax,
        route_scale: about["route_scale"].as_f64().unwrap_or(1.0),
    }
}

/// A gate whose weight is the identity.
fn apply(config: &MoeConfig, logits: &Tensor, bias: Option<&Tensor>) -> ds_model::gate::Chosen {
    let n = i64::from(config.n_experts);
    let eye = Tensor::eye(n, (Kind::Float, device()));
    let zeros = Tensor::zeros([n], (Kind::Float, device()));
    choose(config, &logits.view([-1, n]), &eye, bias.unwrap_or(&zeros), Choice::Gate)
}

fn choices(about: &Value, tensors: &Tensors) -> String {
    let bias = tensors.get("bias");
    let chosen = apply(&config(about, bias.is_some()), &tensors["logits"], bias);
    // Where all scores are equal the released gate follows an unstable sort; the other implementation is stable.
    let (experts, weights) = match about["informative_only"].as_bool() {
        Some(true) => ("tilekernels_indices", "tilekernels_weights"),
        _ => ("indices", "weights"),
    };
    assert_eq!(chosen.experts, tensors[experts], "experts");
    let mut apart = Furthest::new(1e-6);
    apart.elements("weights", &chosen.weights, &tensors[weights]);
    if let (Some(experts), Some(weights)) = (tensors.get("indices_sorted_by_id"), tensors.get("weights_sorted_by_id")) {
        let (sorted, order) = chosen.experts.sort(-1, false);
        assert_eq!(&sorted, experts, "experts by number");
        apart.elements("weights by number", &chosen.weights.gather(1, &order, false), weights);
    }
    format!("{} tokens choose alike; weights: {}", chosen.experts.size()[0], apart.report())
}

/// Balance terms with their weight, and gradients of the logits.
fn balance_loss(case: &str, about: &Value, tensors: &Tensors) -> String {
    let bias = tensors.get("bias");
    let config = config(about, bias.is_some());
    let (n_sequences, alpha) = (number(about, "batch") as i64, number(about, "alpha"));
    let b = if case.starts_with("batch") { 1 } else { n_sequences };
    let logits = tensors["logits"].copy().set_requires_grad(true);
    let chosen = apply(&config, &logits, bias);
    let (sorted, _) = chosen.experts.sort(-1, false);
    let golden = &tensors["indices_sorted_by_id"];
    assert_eq!(sorted, golden.view_as(&sorted), "experts by number");
    // Both golden terms count the choices that were made.
    let loss = balance(&config, &chosen.scores, &chosen.experts, b) * (alpha / b as f64);
    loss.backward();
    let mut apart = Furthest::new(1e-5);
    apart.norms("loss", &loss, &tensors["loss"]);
    apart.norms("gradient of the logits", &logits.grad(), &tensors["grad_logits"]);
    apart.report()
}
