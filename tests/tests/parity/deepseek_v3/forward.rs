//! One forward pass, part by part.

use std::collections::BTreeSet;

use ds_arch::LayerId;
use ds_model::{LossWeights, OneRank, Seen, StageInput, StagePart};
use tch::{Kind, Tensor};

use super::{case, config};
use crate::compare::Furthest;
use crate::folder::{Folder, Tensors};

/// The golden f64 model computes norms, gate, softmax and loss in f32, so that nothing can be nearer than this.
const FLOOR: f64 = 1e-5;

pub(super) fn check(folder: &Folder, kind: Kind) -> String {
    let config = config::read(folder, config::without_mtp());
    let model = case::model(folder, &config, StagePart::whole(&config), kind);
    let mut golden = folder.tensors("forward.safetensors");
    let take = |golden: &mut Tensors, name: &str| golden.remove(name).unwrap_or_else(|| panic!("{name} is missing"));
    let m = case::microbatch(&take(&mut golden, "input_ids"), &take(&mut golden, "labels"));

    // Streams are about 1 to 10 in size; a term of a sum cannot be known better than the sum.
    let mut apart = Furthest::new(FLOOR.max(4.0 * case::own_difference(folder, "/logits_max_abs_diff_f32_f64")));
    let mut before = Tensor::new();
    let mut n_tokens = 0;
    let mut look = |seen: Seen<'_>| {
        let mut same = |name: &str, found: &Tensor| apart.elements(name, found, &take(&mut golden, name));
        match seen {
            Seen::Embedded(h) => same("hidden.embed", h),
            Seen::Attended(LayerId(layer), h) => same(&format!("attn_out.layer.{layer}"), &(h - &before)),
            Seen::Left(LayerId(layer), h) => {
                same(&format!("hidden.layer.{layer}"), h);
                same(&format!("mlp_out.layer.{layer}"), &(h - &before));
            }
            Seen::Normed { normed, .. } => same("hidden.final_norm", normed),
            Seen::Logits { logits, .. } => {
                same("logits", logits);
                if kind == Kind::Double {
                    let exact = folder.tensors("forward_f64.safetensors");
                    apart.elements("logits in f64", logits, &exact["logits"]);
                }
            }
            Seen::Chosen(LayerId(layer), chosen) => {
                same(&format!("router.logits.layer.{layer}"), &chosen.logits);
                let (sorted, order) = chosen.experts.sort(-1, false);
                let name = format!("router.topk_indices.layer.{layer}");
                assert_eq!(sorted, take(&mut golden, &name), "{name}");
                let weights = chosen.weights.gather(1, &order, false);
                apart.elements("weights", &weights, &take(&mut golden, &format!("router.topk_weights.layer.{layer}")));
                n_tokens += sorted.size()[0];
            }
        }
        if let Seen::Embedded(h) | Seen::Attended(_, h) | Seen::Left(_, h) = seen {
            before = h.detach().copy();
        }
    };
    let input = StageInput { microbatch: &m, hidden: None };
    let forward = model.forward_watched(input, &LossWeights::default(), &OneRank, &mut look).expect("a forward pass");
    let mut loss = Furthest::new(FLOOR);
    let found = forward.losses.loss.0 / forward.losses.loss.1;
    loss.see("loss", (found - case::scalar(&take(&mut golden, "loss"))).abs());
    let left: BTreeSet<&String> = golden.keys().collect();
    assert!(left.is_empty(), "nothing compares {left:?}");
    format!("{n_tokens} choices alike; tensors: {}; loss: {}", apart.report(), loss.report())
}
