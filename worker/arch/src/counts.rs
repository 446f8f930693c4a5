//! How large a model is: the figures that people quote.

use crate::{ModelConfig, Parameter, Place, parameters};

/// Parameters of a model, each logical one once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Without MTP.
    pub total: u64,
    /// Of the MTP modules; their embedding and head are the main model's.
    pub mtp: u64,
    /// What one token passes through, without MTP, with the input embedding.
    pub activated_with_embedding: u64,
    /// Likewise, without the input embedding: a token reads one row of it.
    pub activated: u64,
}

/// Counts of a model.
pub fn counts(config: &ModelConfig) -> Counts {
    let table = parameters(config);
    let sum = |keep: &dyn Fn(&Parameter) -> bool| table.iter().filter(|p| keep(p)).map(Parameter::n_elements).sum();
    let is_mtp = |p: &Parameter| matches!(p.place, Place::Layer(layer) if layer.0 >= config.n_layers);
    // Which experts a token goes to does not matter: they are equal.
    let is_used = |p: &Parameter| !is_mtp(p) && p.expert.is_none_or(|expert| expert.0 < config.moe.top_k);
    Counts {
        total: sum(&|p| !is_mtp(p)),
        mtp: sum(&is_mtp),
        activated_with_embedding: sum(&is_used),
        activated: sum(&|p| is_used(p) && p.place != Place::Embedding),
    }
}
