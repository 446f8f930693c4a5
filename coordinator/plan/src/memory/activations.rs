//! What forward keeps for backward: the input of every matrix, the operands of every product, the results of norms,
//! softmax and sigmoid. Without recomputation it is what LibTorch's autograd saves in each phase; recomputation drops
//! rows of the same list, and FP8 changes the formats of some, as DeepSeek-V3 does (arXiv 2412.19437, §3.2.3, §3.3.3).

use ds_arch::{LayerId, Place};

use super::widths::Width;
use super::widths::{Kept, Widths};
use crate::spec::{DeviceKind, JobSpec, Recompute};

/// How much of a list of tensors there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// The input of a layer, from which all else can be computed again.
    Never,
    /// Costs a whole layer to compute again.
    Layer,
    /// Costs little to compute again: norms, SwiGLU, the up-projections of MLA, logits.
    Cheap,
}

/// One row of the list: elements of a token.
struct Row {
    elements: u64,
    width: Width,
    again: Again,
}

fn row(elements: u64, width: Width, again: Again) -> Row {
    Row { elements, width, again }
}

/// Bytes that `tokens` tokens keep in one place.
pub(super) fn saved(spec: &JobSpec, place: Place, widths: Widths, recompute: Recompute, tokens: u64) -> u64 {
    let is_kept = |row: &Row| match recompute {
        Recompute::None => true,
        Recompute::Norms => row.again != Again::Cheap,
        Recompute::Full => row.again == Again::Never,
    };
    let rows = rows(spec, place, widths.kept);
    (tokens * rows.iter().filter(|row| is_kept(row)).map(|row| row.width.of(row.elements)).sum::<u64>()).div_ceil(32)
}

fn rows(spec: &JobSpec, place: Place, kept: Kept) -> Vec<Row> {
    let (d, vocab) = (u64::from(spec.model.hidden_size), u64::from(spec.model.vocab_size));
    let norm = || [row(d, kept.activation, Again::Never), row(d, kept.matrix_input, Again::Cheap)];
    // Logits and their logarithms.
    let scored = || row(2 * vocab, kept.full, Again::Cheap);
    match place {
        // The input of the first layer, which counts it.
        Place::Embedding => Vec::new(),
        Place::Layer(layer) if layer.0 >= spec.model.n_layers => {
            let mut rows = decoder_layer(spec, layer, kept);
            rows.extend(norm()); // Of the main stream.
            rows.extend(norm()); // Of the embedding.
            rows.push(row(2 * d, kept.matrix_input, Again::Cheap)); // Both, concatenated.
            rows.extend(norm());
            rows.push(scored());
            rows
        }
        Place::Layer(layer) => decoder_layer(spec, layer, kept),
        Place::FinalNorm => norm().into(),
        Place::Head => vec![scored()],
    }
}

fn decoder_layer(spec: &JobSpec, layer: LayerId, kept: Kept) -> Vec<Row> {
    let mut rows = attention(spec, kept);
    rows.extend(if spec.model.is_moe(layer) { moe(spec, kept) } else { dense(spec, kept) });
    rows
}

fn attention(spec: &JobSpec, kept: Kept) -> Vec<Row> {
    let a = &spec.model.attention;
    let [d, heads, c_kv, nope, rope, value] =
        [spec.model.hidden_size, a.n_heads, a.kv_lora_rank, a.qk_nope_dim, a.qk_rope_dim, a.v_head_dim].map(u64::from);
    let (qk, q_rank) = (nope + rope, a.q_lora_rank.map_or(0, u64::from));
    // On cores the probabilities are kept; on GPUs the fused kernel keeps one number a row.
    let probabilities = match spec.cluster.device {
        DeviceKind::Cpu => heads * u64::from(spec.train[0].sequence),
        DeviceKind::Cuda => heads,
    };
    vec![
        row(d, kept.activation, Again::Never),                           // Residual stream.
        row(d, kept.matrix_input, Again::Cheap),                         // Its norm.
        row(q_rank + c_kv + rope, kept.activation, Again::Layer),        // Latents and the shared key.
        row(q_rank + c_kv, kept.matrix_input, Again::Cheap),             // Norms of the latents.
        row(heads * (qk + nope + value), kept.activation, Again::Cheap), // Queries, keys and values, as projected.
        row(2 * heads * qk, kept.activation, Again::Cheap),              // Queries and keys with their positions.
        row(heads * value, kept.after_attention, Again::Layer),          // Output.
        row(probabilities, kept.full, Again::Layer),
    ]
}

fn dense(spec: &JobSpec, kept: Kept) -> Vec<Row> {
    let [d, inner] = [spec.model.hidden_size, spec.model.dense_hidden].map(u64::from);
    let mut rows = before_feed_forward(d, kept);
    rows.extend(swiglu(inner, kept));
    rows
}

fn moe(spec: &JobSpec, kept: Kept) -> Vec<Row> {
    let moe = &spec.model.moe;
    let [d, inner, n_experts, top_k, n_shared] =
        [spec.model.hidden_size, moe.expert_hidden, moe.n_experts, moe.top_k, moe.n_shared].map(u64::from);
    let mut rows = before_feed_forward(d, kept);
    rows.push(row(n_experts, kept.full, Again::Layer)); // Affinities.
    rows.push(row(top_k * d, kept.matrix_input, Again::Layer)); // Copies of the token at its experts.
    rows.extend(swiglu((top_k + n_shared) * inner, kept));
    // Results, before and after their way back: the gradient of the gate's weights can be had from SwiGLU's output.
    rows.push(row(2 * top_k * d, kept.activation, Again::Cheap));
    rows
}

/// The residual stream between attention and feed-forward, and its norm.
fn before_feed_forward(d: u64, kept: Kept) -> Vec<Row> {
    vec![row(d, kept.activation, Again::Layer), row(d, kept.matrix_input, Again::Cheap)]
}

/// Gate and up; the gate's SiLU and the product.
fn swiglu(inner: u64, kept: Kept) -> [Row; 2] {
    [row(2 * inner, kept.matrix_input, Again::Layer), row(2 * inner, kept.matrix_input, Again::Cheap)]
}
