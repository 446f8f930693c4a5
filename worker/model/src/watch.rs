//! What a forward pass shows on its way, for comparisons, generation and studies of activations. Watching changes
//! nothing: tensors are those that the pass computes with.

use ds_arch::LayerId;
use tch::Tensor;

use crate::gate::Chosen;

/// One thing that a stage computed. Main layers and MTP modules look alike: the latter are layers after the main ones.
#[derive(Debug)]
pub enum Seen<'a> {
    /// The embedded tokens, `[b, t, d]`.
    Embedded(&'a Tensor),
    /// The stream after a layer's attention was added, `[b, t, d]`.
    Attended(LayerId, &'a Tensor),
    /// What a layer's gate chose.
    Chosen(LayerId, &'a Chosen),
    /// The stream after a layer, `[b, t, d]`.
    Left(LayerId, &'a Tensor),
    /// The stream after the final norm, or after that of an MTP module: depth 0 is the main model. `[b, t, d]`.
    Normed {
        /// 0, or the MTP module from 1.
        depth: u32,
        /// `[b, t, d]`.
        normed: &'a Tensor,
    },
    /// Logits, `[b, t, vocabulary]`.
    Logits {
        /// 0, or the MTP module from 1.
        depth: u32,
        /// `[b, t, vocabulary]`.
        logits: &'a Tensor,
    },
}

/// Somebody who looks.
pub type Watch<'a> = dyn FnMut(Seen<'_>) + 'a;
