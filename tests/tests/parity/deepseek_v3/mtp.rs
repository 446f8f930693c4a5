//! The MTP module alone, on the golden hidden state, in both published variants of its input.

use ds_arch::{MtpConfig, MtpInput};
use ds_model::{Gradients, IGNORED, LossWeights, Microbatch, OneRank, Seen, StageInput, StagePart};
use tch::{Kind, Tensor};

use super::{case, config};
use crate::compare::Furthest;
use crate::folder::{Folder, device};

pub(super) fn after_the_norm(folder: &Folder, kind: Kind) -> String {
    check(folder, kind, MtpInput::PostNorm, "postnorm")
}

pub(super) fn before_the_norm(folder: &Folder, kind: Kind) -> String {
    check(folder, kind, MtpInput::PreNorm, "prenorm")
}

/// The stage is the final norm, the head and the module; it is fed the golden residual stream.
fn check(folder: &Folder, kind: Kind, input: MtpInput, variant: &str) -> String {
    let config = config::read(folder, MtpConfig { depth: 1, input });
    let whole = StagePart::whole(&config);
    let part = StagePart { embeds: false, layers: config.n_layers..config.n_layers, ..whole };
    let model = case::model(folder, &config, part, kind);
    let all = folder.tensors("mtp.safetensors");
    let golden = |name: &str| all[&format!("{variant}.{name}")].shallow_clone();
    let (m, n_targets) = microbatch(&all["input_ids"]);

    let mut apart = Furthest::new(1e-5_f64.max(4.0 * case::own_difference(folder, "/logits_max_abs_diff_f32_f64")));
    let mut look = |seen: Seen<'_>| match seen {
        Seen::Normed { depth: 0, normed } if input == MtpInput::PostNorm => {
            apart.elements("h", normed, &golden("h"));
        }
        Seen::Normed { depth: 1, normed } => apart.elements("out_normed", normed, &golden("out_normed")),
        Seen::Logits { depth: 1, logits } => apart.elements("logits", logits, &golden("logits")),
        _ => {}
    };
    let weights = LossWeights { mtp: 1.0 / n_targets, ..LossWeights::default() };
    let hidden = all["prenorm.h"].to_kind(kind);
    let stage_input = StageInput { microbatch: &m, hidden: Some(hidden) };
    let forward = model.forward_watched(stage_input, &weights, &OneRank, &mut look).expect("a forward pass");
    apart.see("loss", (forward.losses.mtp.0 / forward.losses.mtp.1 - case::scalar(&golden("loss"))).abs());

    let mut gradients = Gradients::zeros(&model);
    let back = model.backward(forward.saved, None, &mut gradients, &OneRank).expect("a backward pass");
    let mut of = Furthest::new(1e-5_f64.max(10.0 * case::own_difference(folder, "/grad_worst_rel_l2_f32_f64")));
    if input == MtpInput::PreNorm {
        // After the norm, the golden gradient stops there and ours goes on to the stream.
        of.norms("gradient of h", &back.expect("a gradient of the stream"), &golden("grad_h"));
    }
    let mut n_compared = 0;
    for (name, found) in case::logical(&model, |i| gradients.tensors()[i].shallow_clone()) {
        let key = match name.as_str() {
            "lm_head.weight" => "grad_lm_head".to_owned(),
            "model.embed_tokens.weight" => "grad_embed".to_owned(),
            // The golden module starts behind it.
            "model.norm.weight" => continue,
            _ => format!("grad.{name}"),
        };
        of.norms(&key, &found, &golden(&key));
        n_compared += 1;
    }
    let n_golden = all.keys().filter(|key| key.starts_with(&format!("{variant}.grad"))).count();
    // All but that of h.
    assert_eq!(n_compared, n_golden - 1, "gradients compared");
    format!("{}; gradients: {}", apart.report(), of.report())
}

/// Position i reads token i + 1 and predicts token i + 2; of T tokens the first T − 1 positions count.
fn microbatch(ids: &Tensor) -> (Microbatch, f64) {
    let (b, t) = ids.size2().expect("sequences of tokens");
    let first = ids.narrow(1, 0, t - 1);
    let targets = case::shifted(ids, 2, IGNORED).narrow(1, 0, t - 1);
    let mtp = (ids.narrow(1, 1, t - 1).contiguous(), targets.contiguous());
    let none = Tensor::full([b, t - 1], IGNORED, (Kind::Int64, device()));
    (Microbatch { ids_bt: first.contiguous(), targets_bt: none, mtp: vec![mtp] }, (b * (t - 2)) as f64)
}
