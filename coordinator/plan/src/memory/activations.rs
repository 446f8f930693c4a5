//! What forward keeps for backward, as a list of the tensors that LibTorch's autograd saves in each phase: the input of
//! every matrix, the operands of every product, the results of norms, softmax and sigmoid. Nothing is recomputed.

use ds_arch::{LayerId, Place};

use super::Widths;
use crate::spec::{DeviceKind, JobSpec};

/// Bytes of one token in one place.
pub(super) fn saved(spec: &JobSpec, place: Place, widths: Widths) -> u64 {
    let (d, vocab) = (u64::from(spec.model.hidden_size), u64::from(spec.model.vocab_size));
    // Input and result.
    let norm = 2 * d * widths.compute;
    // Logits and their logarithms.
    let scored = 2 * vocab * widths.full;
    match place {
        // The input of the first layer, which counts it.
        Place::Embedding => 0,
        Place::Layer(layer) if layer.0 >= spec.model.n_layers => {
            // Both norms, their concatenation, the layer, its norm, its loss.
            2 * norm + 2 * d * widths.compute + decoder_layer(spec, layer, widths) + norm + scored
        }
        Place::Layer(layer) => decoder_layer(spec, layer, widths),
        Place::FinalNorm => norm,
        Place::Head => scored,
    }
}

fn decoder_layer(spec: &JobSpec, layer: LayerId, widths: Widths) -> u64 {
    let feed_forward = if spec.model.is_moe(layer) { moe(spec, widths) } else { dense(spec, widths) };
    attention(spec, widths) + feed_forward
}

fn attention(spec: &JobSpec, widths: Widths) -> u64 {
    let a = &spec.model.attention;
    let [d, heads, c_kv, nope, rope, value] =
        [spec.model.hidden_size, a.n_heads, a.kv_lora_rank, a.qk_nope_dim, a.qk_rope_dim, a.v_head_dim].map(u64::from);
    let qk = nope + rope;
    // Before and after its norm.
    let query_latent = a.q_lora_rank.map_or(0, |rank| 2 * u64::from(rank));
    let elements = 2 * d // Residual stream and its norm.
        + query_latent
        + heads * qk // Queries, as projected.
        + 2 * c_kv + rope // Latent before and after its norm, shared key.
        + heads * (nope + value) // Keys and values, as projected.
        + 2 * heads * qk // Queries and keys with their positions.
        + heads * value; // Output, the input of the last projection.
    // On cores the probabilities are kept; on GPUs the fused kernel keeps one number a row.
    let probabilities = match spec.cluster.device {
        DeviceKind::Cpu => heads * u64::from(spec.train[0].sequence),
        DeviceKind::Cuda => heads,
    };
    elements * widths.compute + probabilities * widths.full
}

fn dense(spec: &JobSpec, widths: Widths) -> u64 {
    let [d, inner] = [spec.model.hidden_size, spec.model.dense_hidden].map(u64::from);
    (2 * d + swiglu(inner)) * widths.compute
}

fn moe(spec: &JobSpec, widths: Widths) -> u64 {
    let moe = &spec.model.moe;
    let [d, inner, n_experts, top_k, n_shared] =
        [spec.model.hidden_size, moe.expert_hidden, moe.n_experts, moe.top_k, moe.n_shared].map(u64::from);
    // A copy of the token, the expert within, and the result, before and after its way back.
    let copy = d + swiglu(inner) + 2 * d;
    (2 * d + top_k * copy + swiglu(n_shared * inner)) * widths.compute + n_experts * widths.full
}

/// Gate, its SiLU, up, and their product.
fn swiglu(inner: u64) -> u64 {
    4 * inner
}
