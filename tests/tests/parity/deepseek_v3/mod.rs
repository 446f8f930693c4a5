//! A whole model of DeepSeek-V3's form: forward pass, gradients, MTP, and short runs of training.

mod case;
mod config;
mod curves;
mod forward;
mod gradients;
mod mtp;

use std::collections::BTreeSet;

use tch::Kind;

use crate::Check;
use crate::folder::Folder;

/// Files that the checks read, or that only describe the others.
const KNOWN: &[&str] = &[
    "README.md",
    "config.json",
    "config_deepseek_style.json",
    "forward.safetensors",
    "forward_f64.safetensors",
    "generation_config.json",
    "grads.safetensors",
    "model.safetensors",
    "mtp.safetensors",
    "numerics.json",
    "official_crosscheck.json",
    "params_after_train20.safetensors",
    "train20.json",
    "train_data.safetensors",
];

pub(crate) fn checks(folder: &Folder) -> Vec<Check> {
    let check = |name: String, run: fn(&Folder, Kind) -> String, kind: Kind| {
        let folder = folder.clone();
        Check::new(name, move || run(&folder, kind))
    };
    let of = folder.clone();
    let mut checks = vec![Check::new("config", move || config::check(&of))];
    for (kind, name) in [(Kind::Double, "f64"), (Kind::Float, "f32")] {
        checks.push(check(format!("forward {name}"), forward::check, kind));
        if folder.has("grads.safetensors") {
            checks.push(check(format!("gradients {name}"), gradients::check, kind));
        }
        if folder.has("mtp.safetensors") {
            checks.push(check(format!("mtp after the norm {name}"), mtp::after_the_norm, kind));
            checks.push(check(format!("mtp before the norm {name}"), mtp::before_the_norm, kind));
        }
        if folder.has("train20.json") {
            checks.push(check(format!("20 steps {name}"), curves::fixed_bias, kind));
            checks.push(check(format!("20 steps of loss-free balancing {name}"), curves::loss_free, kind));
        }
    }
    let all = folder.clone();
    checks.push(Check::new("files", move || {
        let unknown: BTreeSet<String> = all.files().into_iter().filter(|f| !KNOWN.contains(&f.as_str())).collect();
        assert!(unknown.is_empty(), "nothing compares {unknown:?}");
        format!("all {} known", all.files().len())
    }));
    checks
}
