//! Errors of the network.

use ds_kernels::TorchError;

/// Why a pass through the network failed.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// LibTorch refused.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// Likewise, in tch's words.
    #[error(transparent)]
    Tch(#[from] tch::TchError),
    /// Backward noted a weight that its phase does not have.
    #[error("the gradient of a weight {shape:?}: no parameter of its phase has that weight in one piece")]
    NoLeaf {
        /// Of the weight.
        shape: Vec<i64>,
    },
    /// Experts on other ranks could not be reached.
    #[error("exchange with experts: {reason}")]
    Exchange {
        /// The rank that failed, if one did.
        peer: Option<u32>,
        /// In the exchange's words.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ModelError {
    /// The rank that is to blame, if another one is.
    pub fn peer(&self) -> Option<u32> {
        match self {
            Self::Exchange { peer, .. } => *peer,
            Self::Torch(_) | Self::Tch(_) | Self::NoLeaf { .. } => None,
        }
    }
}
