//! The operations of whole places: embedding, layers, head, MTP.

use super::kinds::Builder;
use crate::LayerId;

impl Builder<'_> {
    pub(super) fn embedding(&mut self) {
        self.gather("embed_tokens", self.load.tokens, self.config.hidden_size.into());
    }

    pub(super) fn decoder_layer(&mut self, layer: LayerId) {
        self.attention_block();
        if self.config.is_moe(layer) {
            self.moe_block();
        } else {
            self.dense_block();
        }
    }

    pub(super) fn head(&mut self) {
        let [d, vocab] = [self.config.hidden_size, self.config.vocab_size].map(u64::from);
        self.matmul("lm_head", d, vocab);
        // Maximum, difference, exponential, sum of every logit; the logarithm is one a token.
        let logits = self.load.tokens * vocab;
        self.elementwise("loss", 4, logits, logits);
    }

    pub(super) fn mtp_module(&mut self, layer: LayerId) {
        let d = u64::from(self.config.hidden_size);
        self.embedding();
        self.norm("enorm", d);
        self.norm("hnorm", d);
        self.matmul("eh_proj", 2 * d, d);
        self.decoder_layer(layer);
        self.norm("shared_head.norm", d);
        self.head();
    }
}
