//! Names of tensors in released checkpoints, beyond the logical ones: block scales, and what MTP modules share.

use crate::ModelConfig;

/// A tensor that a released checkpoint holds twice: once for the model and once for each MTP module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCopy {
    /// As the MTP module names it.
    pub name: String,
    /// The parameter that it repeats.
    pub of: &'static str,
}

/// The copies of embedding and head that MTP modules of a released checkpoint have.
pub fn shared_copies(config: &ModelConfig) -> Vec<SharedCopy> {
    let layers = (config.n_layers..config.n_layers + config.mtp.depth).map(|layer| format!("model.layers.{layer}"));
    let both = |base: String| {
        [
            SharedCopy { name: format!("{base}.embed_tokens.weight"), of: "model.embed_tokens.weight" },
            SharedCopy { name: format!("{base}.shared_head.head.weight"), of: "lm_head.weight" },
        ]
    };
    layers.flat_map(both).collect()
}

/// The name of a weight's block scales.
pub fn scale_name(weight: &str) -> String {
    format!("{weight}_scale_inv")
}

/// Whether the released FP8 checkpoint quantises a weight: projections of attention, of dense layers and of experts
/// (DeepSeek-V3's `README_WEIGHTS.md`; embedding, head, gate, norms and `eh_proj` stay as they are).
pub fn is_quantised(weight: &str) -> bool {
    let Some(path) = weight.strip_suffix(".weight") else { return false };
    let (module, projection) = path.rsplit_once('.').unwrap_or_default();
    match projection {
        "q_proj" | "q_a_proj" | "q_b_proj" | "kv_a_proj_with_mqa" | "kv_b_proj" | "o_proj" => {
            module.ends_with(".self_attn")
        }
        "gate_proj" | "up_proj" | "down_proj" => module.contains(".mlp"),
        _ => false,
    }
}

/// Whether a tensor follows from the config, so that it need not be kept: older files have the rotary frequencies.
pub fn is_derived(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters;

    #[test]
    fn the_released_model_has_these_matrices_in_fp8_and_no_others() {
        let config = crate::preset("deepseek-v3").expect("a preset");
        let (quantised, kept): (Vec<_>, Vec<_>) = parameters(&config).into_iter().partition(|p| is_quantised(&p.name));
        // 62 attentions of 5, 3 dense networks, and 59 layers of 256 routed and 1 shared expert, of 3 matrices each.
        assert_eq!(quantised.len(), 62 * 5 + 3 * 3 + 59 * 257 * 3);
        assert!(quantised.iter().all(|p| p.shape.len() == 2));
        let matrices: Vec<&str> = kept.iter().filter(|p| p.shape.len() == 2).map(|p| p.name.as_str()).collect();
        let of_layers = |name: &&&str| name.starts_with("model.layers.") && !name.ends_with(".mlp.gate.weight");
        assert_eq!(matrices.len(), 2 + 59 + 1);
        assert_eq!(matrices.iter().filter(of_layers).collect::<Vec<_>>(), [&"model.layers.61.eh_proj.weight"]);
    }
}
