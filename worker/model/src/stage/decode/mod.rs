//! Decoding: tokens go through the network one after another, or a few at once, and what earlier ones left is read from
//! a [`Cache`]. Experts are reached as in training, through the same gates and the same exchange; none is left out.
//!
//! Rows of a batch may have different lengths. Tokens behind a row's last are padding: they are computed, and nothing
//! that counts sees them.

mod cache;

use std::rc::Rc;

use tch::{Tensor, no_grad};

use super::{EMBEDDING, Layer, StageModel};
use crate::ModelError;
use crate::exchange::ExpertExchange;
use crate::feed_forward::feed_forward;
use crate::norm::rms_norm;
use crate::precision::linear;
use crate::sequence::Angles;
use crate::tape::Tape;
use crate::turns::alone;
use cache::View;

pub use cache::{Cache, Place};

/// What came out for some tokens.
pub struct Decoded {
    /// What the next MTP module reads, `[b, t, d]`.
    pub stream: Tensor,
    /// What the head reads, `[b, t, d]`.
    normed: Tensor,
}

/// What a stage gets of some tokens.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The first stage: the tokens, `[b, t]`.
    Tokens(&'a Tensor),
    /// Any other: the stream of the stage before, `[b, t, d]`.
    Stream(&'a Tensor),
}

impl Decoded {
    /// Of every row one column, `[b, 1, d]` each.
    #[must_use]
    pub fn column(&self, of_row: &[i64]) -> Self {
        Self { stream: column(&self.stream, of_row), normed: column(&self.normed, of_row) }
    }
}

/// Of every row of `x`, `[b, t, d]`, one column: `[b, 1, d]`.
pub fn column(x: &Tensor, of_row: &[i64]) -> Tensor {
    let (b, _, d) = x.size3().expect("a stream is sequences × tokens × width");
    let index = Tensor::from_slice(of_row).to_device(x.device()).view([b, 1, 1]).expand([b, 1, d], false);
    x.gather(1, &index, false)
}

impl StageModel {
    /// Room for `n_rows` sequences of up to `n_slots` tokens.
    pub fn cache(&self, n_rows: i64, n_slots: i64) -> Cache {
        let n_layers = self.only().layers.len() + self.only().mtp.len();
        Cache::new(&self.config.attention, n_layers, (n_rows, n_slots), self.precision.kind, self.device)
    }

    /// Tokens `ids_bt` through the main model.
    ///
    /// # Errors
    /// When LibTorch refuses or the exchange fails.
    ///
    /// # Panics
    /// When the model is not whole, or a token has no slot.
    pub fn decode(
        &self,
        cache: &mut Cache,
        ids_bt: &Tensor,
        place: Place<'_>,
        exchange: &dyn ExpertExchange,
    ) -> Result<Decoded, ModelError> {
        self.scored(&self.decode_stage(cache, Step::Tokens(ids_bt), place, exchange)?)
    }

    /// The stream of some tokens behind this stage's layers, `[b, t, d]`: for the next stage, or for
    /// [`StageModel::scored`].
    ///
    /// # Errors
    /// When LibTorch refuses or the exchange fails.
    ///
    /// # Panics
    /// When a stage that embeds gets a stream, or one that does not gets tokens, or a token has no slot.
    pub fn decode_stage(
        &self,
        cache: &mut Cache,
        step: Step<'_>,
        place: Place<'_>,
        exchange: &dyn ExpertExchange,
    ) -> Result<Tensor, ModelError> {
        no_grad(|| {
            let mut h = match step {
                Step::Tokens(ids_bt) => {
                    assert!(self.only().part.embeds, "a stage behind another gets its stream");
                    self.embedded(ids_bt)
                }
                Step::Stream(stream_btd) => {
                    assert!(!self.only().part.embeds, "the first stage gets tokens");
                    stream_btd.shallow_clone()
                }
            };
            let view = cache.view(place, h.size()[1]);
            for (i, layer) in self.only().layers.iter().enumerate() {
                h = self.decode_layer(layer, i, cache, &view, place, &h, exchange)?;
            }
            Ok(h)
        })
    }

    /// What the head and the first MTP module read of the last stage's stream, `[b, t, d]`.
    ///
    /// # Errors
    /// When LibTorch refuses.
    ///
    /// # Panics
    /// When the stage does not score.
    pub fn scored(&self, stream_btd: &Tensor) -> Result<Decoded, ModelError> {
        assert!(self.only().part.scores, "only the last stage scores");
        no_grad(|| self.decoded(stream_btd.shallow_clone(), "model.norm.weight"))
    }

    /// Likewise through the MTP module of that depth, from 1: at the position of `stream_btd`, which comes from the depth
    /// before, stands the token `depth` places later (arXiv 2412.19437, equations 21 to 23).
    ///
    /// # Errors
    /// When LibTorch refuses or the exchange fails.
    ///
    /// # Panics
    /// When there is no such module, or a token has no slot.
    pub fn decode_mtp(
        &self,
        cache: &mut Cache,
        depth: usize,
        (stream_btd, ids_bt): (&Tensor, &Tensor),
        place: Place<'_>,
        exchange: &dyn ExpertExchange,
    ) -> Result<Decoded, ModelError> {
        let layer = &self.only().mtp[depth - 1];
        no_grad(|| {
            let view = cache.view(place, ids_bt.size()[1]);
            let base = format!("model.layers.{}", layer.id);
            let weight = |name: &str| self.store.leaf(&format!("{base}.{name}.weight")).tensor;
            let embedded = rms_norm(&self.embedded(ids_bt), &weight("enorm"), self.config.norm_eps)?;
            let before = rms_norm(stream_btd, &weight("hnorm"), self.config.norm_eps)?;
            let h = linear(&Tensor::cat(&[embedded, before], -1), &weight("eh_proj"))?;
            let place_in_cache = self.only().layers.len() + depth - 1;
            let h = self.decode_layer(layer, place_in_cache, cache, &view, place, &h, exchange)?;
            self.decoded(h, &format!("{base}.shared_head.norm.weight"))
        })
    }

    /// `[b, t, vocabulary]`.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn logits(&self, decoded: &Decoded) -> Result<Tensor, ModelError> {
        no_grad(|| linear(&decoded.normed, &self.store.leaf("lm_head.weight").tensor))
    }

    fn embedded(&self, ids_bt: &Tensor) -> Tensor {
        Tensor::embedding(&self.store.leaf(EMBEDDING).tensor, ids_bt, -1, false, false)
    }

    fn decoded(&self, h: Tensor, norm: &str) -> Result<Decoded, ModelError> {
        let normed = rms_norm(&h, &self.store.leaf(norm).tensor, self.config.norm_eps)?;
        let stream = match self.config.mtp.input {
            ds_arch::MtpInput::PreNorm => h,
            ds_arch::MtpInput::PostNorm => normed.shallow_clone(),
        };
        Ok(Decoded { stream, normed })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a layer, its place in the cache and in the sequences, and its input"
    )]
    fn decode_layer(
        &self,
        layer: &Layer,
        place_in_cache: usize,
        cache: &mut Cache,
        view: &View,
        place: Place<'_>,
        h: &Tensor,
        exchange: &dyn ExpertExchange,
    ) -> Result<Tensor, ModelError> {
        let leaves = layer.attention.leaves(&self.store);
        let latent = layer.attention.latent(h, &leaves, &view.rope)?;
        cache.write(place_in_cache, view, &latent);
        let h = match place {
            // Without a past, keys and values of these tokens are expanded once and used by all of them.
            Place::First => {
                let mut tape = Tape::forgetful();
                let h = (tape.value(), h.shallow_clone());
                let angles = Rc::new(Angles::whole(view.rope.clone()));
                alone(layer.attention.forward(&mut tape, &self.store, &h, (&angles, None)))?.1
            }
            Place::From(_) => {
                let past = cache.read(place_in_cache, view);
                layer.attention.absorbed(h, &leaves, &view.rope, &past, &view.visible_bts)?
            }
        };
        match &layer.moe {
            Some(moe) => {
                let mut tape = Tape::forgetful();
                let counts = h.select(-1, 0).ones_like().reshape([-1]);
                let h = (tape.value(), h);
                Ok(alone(moe.forward(&mut tape, &self.store, &h, &counts, exchange))?.hidden.1)
            }
            None => {
                let base = format!("model.layers.{}", layer.id);
                let weight = |name: &str| self.store.leaf(&format!("{base}.{name}")).tensor;
                let x = rms_norm(&h, &weight("post_attention_layernorm.weight"), self.config.norm_eps)?;
                let (gate_up, down) = (weight("mlp.gate_up"), weight("mlp.down_proj.weight"));
                Ok(&h + feed_forward(&x, &gate_up, &down, self.precision.products)?)
            }
        }
    }
}
