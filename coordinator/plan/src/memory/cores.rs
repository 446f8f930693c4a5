//! What workers keep for backward on cores, block by block, and what the block in progress takes beside it. It follows
//! what their operations save (`kernels/src/fused`, `worker/model`): on cores a SwiGLU network keeps both halves and the
//! norm of its input, attention its queries, keys, values, output and one number a row.
//!
//! Backward walks blocks in reverse and frees each, so the most is needed where what earlier blocks keep and the work
//! of the block in progress are largest together: at the loss, or in the last layers. In bfloat16 the estimate is of
//! processors that do not multiply it, where operands are widened for a product; others need less.

use ds_arch::{LayerId, Place};

use super::widths::Widths;
use crate::spec::{ComputeType, JobSpec, Recompute};

/// Bytes of an index.
const INDEX: u64 = 8;

/// A part of a place that backward frees at once. Bytes of a token, but for `fixed`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// Kept in any case.
    kept: u64,
    /// Cheap to compute again.
    again: u64,
    /// Of backward, at its largest, beside what is kept.
    work: u64,
    /// Likewise, whatever the number of tokens: gradients of weights on their way, and weights in another format.
    fixed: u64,
}

/// The most that blocks in a row need, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// What all of them keep.
    pub(super) kept: u64,
    /// Of the block in progress when most is needed: what it computes again.
    pub(super) recomputed: u64,
    /// Likewise: beyond what is kept and computed again.
    pub(super) work: u64,
}

/// Of a microbatch of `tokens` tokens. Blocks stand in the order of forward.
pub(super) fn needs(blocks: &[Block], recompute: Recompute, tokens: u64) -> Needs {
    let is_again = recompute != Recompute::None;
    let kept_of = |block: &Block| tokens * (block.kept + if is_again { 0 } else { block.again });
    let (mut kept, mut most) = (0, (0, 0));
    for block in blocks {
        kept += kept_of(block);
        let recomputed = if is_again { tokens * block.again } else { 0 };
        most = most.max((kept + recomputed + tokens * block.work + block.fixed, recomputed));
    }
    let (peak, recomputed) = most;
    let beyond = peak.saturating_sub(kept);
    Needs { kept, recomputed: recomputed.min(beyond), work: beyond.saturating_sub(recomputed) }
}

/// Whether a job's blocks are known: products in FP8 keep other things, and whole layers are not computed again yet.
pub(super) fn are_known(spec: &JobSpec) -> bool {
    spec.precision.compute != ComputeType::Fp8 && spec.parallel.recompute != Recompute::Full
}

/// The blocks of a place, in the order of forward.
pub(super) fn blocks(spec: &JobSpec, place: Place, widths: Widths, n_local_experts: u64) -> Vec<Block> {
    let cores = Cores::new(spec, widths, n_local_experts);
    match place {
        Place::Embedding => vec![Block { fixed: cores.vocab * cores.d * cores.f, ..Block::default() }],
        Place::Layer(layer) if layer.0 >= spec.model.n_layers => {
            let mut blocks = vec![cores.join()];
            blocks.extend(cores.decoder_layer(layer));
            blocks.push(cores.norm());
            blocks.extend(cores.head());
            blocks
        }
        Place::Layer(layer) => cores.decoder_layer(layer).into(),
        Place::FinalNorm => vec![cores.norm()],
        Place::Head => cores.head().into(),
    }
}

/// Sizes of a model, and bytes of elements.
struct Cores<'a> {
    spec: &'a JobSpec,
    d: u64,
    vocab: u64,
    /// Of an activation.
    f: u64,
    /// Of a sum: a score, a probability, a statistic.
    w: u64,
    /// Whether operands of products are widened to FP32.
    widens: bool,
    n_local_experts: u64,
}

impl<'a> Cores<'a> {
    fn new(spec: &'a JobSpec, widths: Widths, n_local_experts: u64) -> Self {
        let [d, vocab] = [spec.model.hidden_size, spec.model.vocab_size].map(u64::from);
        let (f, w) = (widths.weight, widths.full);
        Self { spec, d, vocab, f, w, widens: f != w, n_local_experts }
    }

    fn decoder_layer(&self, layer: LayerId) -> [Block; 2] {
        let feed_forward = if self.spec.model.is_moe(layer) { self.moe() } else { self.dense() };
        [self.attention(), feed_forward]
    }

    /// Extra bytes of a weight of `n` elements in its product's backward: its gradient, and where operands are widened
    /// the gradient in FP32 too, or the weight.
    fn of_weight(&self, n: u64) -> u64 {
        n * (self.f + if self.widens { self.w } else { 0 })
    }

    /// The stream and the root that its norm divides by; the norm.
    fn norm(&self) -> Block {
        Block { kept: self.d * self.f + self.w, again: self.d * self.f, work: 2 * self.d * self.f, fixed: 0 }
    }

    fn attention(&self) -> Block {
        let at = &self.spec.model.attention;
        let [heads, c_kv, nope, rope, value] =
            [at.n_heads, at.kv_lora_rank, at.qk_nope_dim, at.qk_rope_dim, at.v_head_dim].map(u64::from);
        let (qk, q_rank) = (nope + rope, at.q_lora_rank.map_or(0, u64::from));
        let (f, wide) = (self.f, if self.widens { self.w } else { self.f });
        let is_padded = value < qk;
        // Unless values are padded or widened they are a view of what was projected, which is kept with them.
        let values = if is_padded || self.widens { heads * qk * wide } else { heads * (nope + value) * f };
        // Likewise the input of the last projection is a view of attention's output.
        let projected = if is_padded || self.widens { heads * value * f } else { 0 };
        let norm = self.norm();
        Block {
            kept: norm.kept + (q_rank + c_kv + rope) * f + heads * (qk * wide + self.w) + projected,
            // The norm's input of a latent is a part of a row, and so copied.
            again: norm.again + (q_rank + 2 * c_kv) * f + 2 * self.w + 2 * heads * qk * wide + values,
            // Gradients of the output, before and after it is padded, of queries, keys and values, and of the stream.
            work: heads * (4 * qk * wide + value * f) + 2 * self.d * f,
            fixed: self.of_weight(self.d * heads * value),
        }
    }

    fn dense(&self) -> Block {
        let inner = u64::from(self.spec.model.dense_hidden);
        let norm = self.norm();
        Block {
            kept: norm.kept + 2 * inner * self.f,
            again: norm.again,
            work: self.swiglu_work(inner) + 2 * self.d * self.f,
            fixed: 3 * self.d * inner * (self.w + if self.widens { self.f + self.w } else { 0 }),
        }
    }

    /// Of a network's backward: the product and its gradient, and the gradients of both halves; operands widened.
    fn swiglu_work(&self, inner: u64) -> u64 {
        4 * inner * self.f + if self.widens { (2 * inner + self.d) * self.w } else { 0 }
    }

    fn moe(&self) -> Block {
        let moe = &self.spec.model.moe;
        let [inner, n_experts, k, n_shared] =
            [moe.expert_hidden, moe.n_experts, moe.top_k, moe.n_shared].map(u64::from);
        let norm = self.norm();
        let (row, scores) = (self.d * self.f, n_experts * self.w);
        // Every expert in order of its score, of which the first k are read; where rows stand, and back; weights of the
        // choices, before and after they are normalised and scaled.
        let choices = n_experts * INDEX + 2 * k * INDEX + 3 * k * self.w;
        // The stream with what shared experts add.
        let shared = if n_shared > 0 { 2 * n_shared * inner * self.f + row } else { 0 };
        // Experts in progress at a time, one a thread.
        let share = |n: u64| (n * u64::from(self.spec.cluster.threads)).div_ceil(self.n_local_experts.max(1)).min(n);
        Block {
            // Rows as they arrived at experts, both halves, and rows as they came back.
            kept: norm.kept + scores + choices + k * (2 * row + 2 * inner * self.f) + shared,
            // The gate reads the norm in FP32.
            again: norm.again + if self.widens { self.d * self.w } else { 0 },
            // Gradients of what came back and of what arrived; of the stream, of its sum and of the norm.
            work: 2 * k * row + share(k * self.swiglu_work(inner)) + 3 * row,
            fixed: if self.widens { 3 * self.d * inner * self.w * u64::from(self.spec.cluster.threads) } else { 0 },
        }
    }

    /// The embedding of the next token and its norm, the norm of the stream, and both joined.
    fn join(&self) -> Block {
        let row = self.d * self.f;
        let fixed = self.vocab * self.d * self.f + self.of_weight(2 * self.d * self.d);
        Block { kept: 0, again: 3 * row + 2 * self.w, work: 4 * row, fixed }
    }

    /// The product, whose backward begins when the loss has let go of what it kept; and the loss, which keeps logarithms of
    /// probabilities, and whose backward has their gradients and those of the logits.
    fn head(&self) -> [Block; 2] {
        let of_logits = self.vocab * (self.f + if self.widens { self.w } else { 0 });
        let product = Block { work: of_logits, fixed: self.of_weight(self.vocab * self.d), ..Block::default() };
        [product, Block { kept: self.vocab * self.w, work: 2 * self.vocab * self.w, ..Block::default() }]
    }
}
