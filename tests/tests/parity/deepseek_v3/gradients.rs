//! The gradient of every parameter.

use ds_model::StagePart;
use tch::{Kind, Tensor};

use super::{case, config};
use crate::compare::Furthest;
use crate::folder::Folder;

/// As a share of a gradient's norm; the golden f64 model is f32 in parts.
const FLOOR: f64 = 1e-5;

pub(super) fn check(folder: &Folder, kind: Kind) -> String {
    let config = config::read(folder, config::without_mtp());
    let model = case::model(folder, &config, StagePart::whole(&config), kind);
    let inputs = folder.tensors("forward.safetensors");
    let mut golden = folder.tensors("grads.safetensors");
    let m = case::microbatch(&inputs["input_ids"], &inputs["labels"]);
    let (_, _, gradients) = case::forward_and_backward(&model, &m, &case::mean_loss(&m));
    let mut apart = Furthest::new(FLOOR.max(10.0 * case::own_difference(folder, "/grad_worst_rel_l2_f32_f64")));
    for (name, found) in case::logical(&model, |i| gradients.tensors()[i].shallow_clone()) {
        let gradient: Tensor = golden.remove(&name).unwrap_or_else(|| panic!("no golden gradient of {name}"));
        apart.norms(&name, &found, &gradient);
    }
    assert!(golden.is_empty(), "nothing compares {:?}", golden.keys());
    apart.report()
}
