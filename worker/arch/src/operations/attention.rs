//! The operations of MLA (arXiv 2412.19437, equations 1 to 11).

use super::kinds::Builder;

impl Builder<'_> {
    pub(super) fn attention_block(&mut self) {
        let a = &self.config.attention;
        let d = u64::from(self.config.hidden_size);
        let [heads, c_kv, nope, rope, value] =
            [a.n_heads, a.kv_lora_rank, a.qk_nope_dim, a.qk_rope_dim, a.v_head_dim].map(u64::from);
        let (qk, tokens) = (nope + rope, self.load.tokens);

        self.norm("input_layernorm", d);
        match a.q_lora_rank.map(u64::from) {
            Some(c_q) => {
                self.matmul("self_attn.q_a_proj", d, c_q);
                self.norm("self_attn.q_a_layernorm", c_q);
                self.matmul("self_attn.q_b_proj", c_q, heads * qk);
            }
            None => self.matmul("self_attn.q_proj", d, heads * qk),
        }
        self.matmul("self_attn.kv_a_proj_with_mqa", d, c_kv + rope);
        self.norm("self_attn.kv_a_layernorm", c_kv);
        self.matmul("self_attn.kv_b_proj", c_kv, heads * (nope + value));
        // Each result is a·cos ± b·sin, for every head's query and the one shared key.
        let rotated = tokens * (heads + 1) * rope;
        self.elementwise("self_attn.rope", 3, rotated, rotated);

        let (queries, values) = (tokens * heads * qk, tokens * heads * value);
        self.attention("self_attn.scores", qk, 2 * queries, 0);
        // Scale, maximum, difference, exponential, sum, quotient; scores stay on the chip.
        self.on_chip("self_attn.softmax", 6 * self.load.causal_pairs() * heads);
        self.attention("self_attn.values", value, values, values);
        self.matmul("self_attn.o_proj", heads * value, d);
        self.elementwise("self_attn.residual", 1, 2 * tokens * d, tokens * d);
    }
}
