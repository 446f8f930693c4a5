//! Where training stood.

use serde::{Deserialize, Serialize};

/// All of a run's state that is not a tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainState {
    /// Updates that the weights have seen.
    pub step: u64,
    /// The first sample that nobody has trained on yet, in the global order.
    pub next_sample: u64,
    /// What initial weights and the order of samples are functions of.
    pub seed: u64,
    /// The resolved spec.
    pub spec_yaml: String,
    /// blake3 of `spec_yaml`; the commit fills it in, whatever stood there.
    pub spec_hash: String,
    /// What the weights were imported from, if nothing has trained them since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl TrainState {
    pub(crate) fn has_companions(&self) -> bool {
        !self.companions().is_empty()
    }

    pub(crate) fn companions(&self) -> &[Companion] {
        self.origin.as_ref().map_or(&[], |origin| &origin.companions)
    }
}

/// What is kept of a Hugging Face folder besides its weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The text of its `config.json`.
    pub config: String,
    /// MTP modules that have weights; files may leave out those that the config promises.
    pub mtp_depth: u32,
    /// Tensors of MTP modules that repeat others of the model.
    pub shared_copies: Vec<String>,
    /// Files beside the weights that a program needs, such as the tokenizer: in the folder `companions`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companions: Vec<Companion>,
}

/// A file that came beside the weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Companion {
    /// In its folder.
    pub name: String,
    /// In bytes.
    pub length: u64,
    /// blake3 of the bytes, in hexadecimal digits.
    pub checksum: String,
}
