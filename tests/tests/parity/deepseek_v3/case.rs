//! A golden model, its numbers, and what it is fed.

use ds_arch::{ModelConfig, gate_bias_name};
use ds_model::{Gradients, IGNORED, LossWeights, Microbatch, OneRank, StageInput, StageLosses, StageModel, StagePart};
use serde_json::Value;
use tch::{Kind, Tensor, no_grad};

use crate::folder::{Folder, device, number};

/// A stage with the golden weights.
pub(super) fn model(folder: &Folder, config: &ModelConfig, part: StagePart, kind: Kind) -> StageModel {
    let model = StageModel::new(config, part, device(), kind, 0).expect("a model");
    let mut weights = folder.tensors("model.safetensors");
    if config.mtp.depth > 0 {
        let mtp = folder.tensors("mtp.safetensors");
        weights.extend(mtp.into_iter().filter_map(|(name, t)| Some((name.strip_prefix("w.")?.to_owned(), t))));
    }
    no_grad(|| {
        for (name, mut tensor) in logical(&model, |i| model.parameters()[i].tensor.detach()) {
            let golden = weights.remove(&name).unwrap_or_else(|| panic!("{name} is missing"));
            tensor.copy_(&golden);
        }
        for (layer, mut bias) in model.biases() {
            let name = gate_bias_name(layer);
            bias.copy_(&weights.remove(&name).unwrap_or_else(|| panic!("{name} is missing")));
        }
    });
    model
}

/// Views of tensors that are aligned with a model's parameters, by logical name.
pub(super) fn logical(model: &StageModel, tensor: impl Fn(usize) -> Tensor) -> Vec<(String, Tensor)> {
    let all = model.parameters().iter().enumerate().flat_map(|(i, stored)| {
        let whole = tensor(i);
        let view =
            |l: &ds_model::Logical| (l.name.clone(), l.index.map_or_else(|| whole.shallow_clone(), |r| whole.get(r)));
        stored.logical.iter().map(view).collect::<Vec<_>>()
    });
    all.collect()
}

/// `values`, `[b, t]`, moved left by `by`, filled up with `pad`.
pub(super) fn shifted(values: &Tensor, by: i64, pad: i64) -> Tensor {
    let (b, t) = values.size2().expect("sequences of tokens");
    Tensor::cat(&[values.narrow(1, by, t - by), Tensor::full([b, by], pad, (Kind::Int64, device()))], 1)
}

/// The labels are those of the same position; the loss shifts them.
pub(super) fn microbatch(ids: &Tensor, labels: &Tensor) -> Microbatch {
    Microbatch { ids_bt: ids.copy(), targets_bt: shifted(labels, 1, IGNORED), mtp: Vec::new() }
}

/// Weights that make the loss the mean over a microbatch's targets.
pub(super) fn mean_loss(microbatch: &Microbatch) -> LossWeights {
    let n = microbatch.targets_bt.ne(IGNORED).sum(Kind::Int64).int64_value(&[]);
    LossWeights { token: 1.0 / n as f64, ..LossWeights::default() }
}

/// What a step of training gives: losses, tokens of every expert, gradients.
pub(super) fn forward_and_backward(
    model: &StageModel,
    microbatch: &Microbatch,
    weights: &LossWeights,
) -> (StageLosses, Vec<Vec<f64>>, Gradients) {
    let input = StageInput { microbatch, hidden: None };
    let forward = model.forward(input, weights, &OneRank).expect("a forward pass");
    let mut gradients = Gradients::zeros(model);
    model.backward(forward.saved, None, &mut gradients, &OneRank).expect("a backward pass");
    (forward.losses, forward.loads.into_iter().map(|(_, load)| load).collect(), gradients)
}

/// How far the golden model's own f32 and f64 runs are apart, from `numerics.json`; a pointer such as `/a/b`.
pub(super) fn own_difference(folder: &Folder, pointer: &str) -> f64 {
    let numerics: Value = folder.json("numerics.json");
    numerics.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("numerics.json has no {pointer}"))
}

/// A loss, which is a tensor of one element.
pub(super) fn scalar(tensor: &Tensor) -> f64 {
    tensor.double_value(&[0])
}

/// The setting of a run of training.
pub(super) fn setting(about: &Value, field: &str) -> f64 {
    number(about, field)
}
