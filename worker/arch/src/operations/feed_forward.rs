//! The operations of a dense feed-forward network and of DeepSeekMoE (arXiv 2412.19437, equations 12 to 16).

use super::kinds::Builder;

// x / (1 + exp(-x)) is negate, exponential, add, divide; then times `up`.
const SWIGLU_STEPS: u64 = 5;

impl Builder<'_> {
    pub(super) fn dense_block(&mut self) {
        let [d, inner] = [self.config.hidden_size, self.config.dense_hidden].map(u64::from);
        let tokens = self.load.tokens;
        self.norm("post_attention_layernorm", d);
        self.matmul("mlp.gate_proj", d, inner);
        self.matmul("mlp.up_proj", d, inner);
        self.elementwise("mlp.swiglu", SWIGLU_STEPS, 2 * tokens * inner, tokens * inner);
        self.matmul("mlp.down_proj", inner, d);
        self.elementwise("mlp.residual", 1, 2 * tokens * d, tokens * d);
    }

    pub(super) fn moe_block(&mut self) {
        let moe = &self.config.moe;
        let [d, inner, n_experts, top_k] =
            [self.config.hidden_size, moe.expert_hidden, moe.n_experts, moe.top_k].map(u64::from);
        let shared = u64::from(moe.n_shared) * inner;
        let tokens = self.load.tokens;
        let copies = tokens * top_k;

        self.norm("post_attention_layernorm", d);
        self.matmul("mlp.gate", d, n_experts);
        // Negate, exponential, add, divide; add the bias and compare.
        self.elementwise("mlp.gate.choose", 6, tokens * n_experts, tokens * n_experts);
        self.gather("mlp.dispatch", copies, d);
        self.grouped_matmul("mlp.experts.gate_proj", d, inner);
        self.grouped_matmul("mlp.experts.up_proj", d, inner);
        self.elementwise("mlp.experts.swiglu", SWIGLU_STEPS, 2 * copies * inner, copies * inner);
        self.grouped_matmul("mlp.experts.down_proj", inner, d);
        self.gather("mlp.combine", copies, d);
        // Times its weight, added to the token.
        self.elementwise("mlp.combine.weigh", 2 * top_k, copies * d, tokens * d);
        if shared > 0 {
            self.matmul("mlp.shared_experts.gate_proj", d, shared);
            self.matmul("mlp.shared_experts.up_proj", d, shared);
            self.elementwise("mlp.shared_experts.swiglu", SWIGLU_STEPS, 2 * tokens * shared, tokens * shared);
            self.matmul("mlp.shared_experts.down_proj", shared, d);
        }
        let addends = if shared > 0 { 3 } else { 2 };
        self.elementwise("mlp.residual", addends - 1, addends * tokens * d, tokens * d);
    }
}
