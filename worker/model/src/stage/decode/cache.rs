//! What is kept of tokens that were read or written: one compressed vector a token and layer.

use std::rc::Rc;

use ds_arch::AttentionConfig;
use tch::{Device, Kind, Tensor};

use crate::rope::Rope;

/// Compressed keys and values of some sequences, for every layer and MTP module. It does not know how long its sequences
/// are: a token sees the slots up to its own, so what stands behind the newest token may be anything, and a draft that
/// was refused is forgotten by writing over it.
pub struct Cache {
    /// `[b, slots, c]` a layer, the modules of MTP last.
    layers: Vec<Tensor>,
    rope: Rope,
}

/// Where new tokens stand in their sequences.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// They begin them.
    First,
    /// The first of row r stands at position `.0[r]`; all before it was decoded.
    From(&'a [i64]),
}

impl Cache {
    pub(super) fn new(
        config: &AttentionConfig,
        n_layers: usize,
        (b, slots): (i64, i64),
        kind: Kind,
        device: Device,
    ) -> Self {
        let width = i64::from(config.kv_lora_rank + config.qk_rope_dim);
        let layers = (0..n_layers).map(|_| Tensor::zeros([b, slots, width], (kind, device))).collect();
        Self { layers, rope: Rope::new(config, slots, kind, device) }
    }

    /// Values of all layers and sequences.
    pub fn n_values(&self) -> usize {
        self.layers.iter().map(Tensor::numel).sum()
    }

    /// Of all layers and sequences.
    pub fn n_bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.numel() * layer.kind().elt_size_in_bytes()).sum()
    }

    /// Tokens that a sequence may have.
    pub fn n_slots(&self) -> i64 {
        self.rope.n_positions()
    }

    /// Layers, MTP modules included.
    pub fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// The view of `t` new tokens a row.
    pub(super) fn view(&self, place: Place<'_>, t: i64) -> View {
        let device = self.layers[0].device();
        let b = self.layers[0].size()[0];
        let starts = match place {
            Place::First => vec![0; b as usize],
            Place::From(starts) => starts.to_vec(),
        };
        assert_eq!(starts.len() as i64, b, "every row has a place");
        let end = starts.iter().max().copied().unwrap_or(0) + t;
        assert!(end <= self.n_slots(), "a token at position {} has no slot among {}", end - 1, self.n_slots());
        let steps = Tensor::arange(t, (Kind::Int64, device)).unsqueeze(0);
        let positions_bt = Tensor::from_slice(&starts).to_device(device).unsqueeze(1) + steps;
        let slots = Tensor::arange(end, (Kind::Int64, device));
        let visible_bts = slots.view([1, 1, end]).le_tensor(&positions_bt.unsqueeze(-1));
        View { rope: Rc::new(self.rope.at(&positions_bt)), positions_bt, visible_bts, n_seen: end }
    }

    pub(super) fn write(&mut self, layer: usize, view: &View, latent_btc: &Tensor) {
        let index = view.positions_bt.unsqueeze(-1).expand_as(latent_btc);
        let _ = self.layers[layer].scatter_(1, &index, latent_btc);
    }

    /// `[b, s, c]`.
    pub(super) fn read(&self, layer: usize, view: &View) -> Tensor {
        self.layers[layer].narrow(1, 0, view.n_seen)
    }
}

/// What some new tokens see.
pub(super) struct View {
    /// At their positions.
    pub(super) rope: Rc<Rope>,
    positions_bt: Tensor,
    /// Slots up to their own.
    pub(super) visible_bts: Tensor,
    n_seen: i64,
}
