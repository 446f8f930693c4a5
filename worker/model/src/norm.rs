//! RMSNorm (arXiv 1910.07467).

use tch::Tensor;

/// x / √(mean x² + ε) · w over the last dimension.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    x.rms_norm(weight.size(), Some(weight), eps)
}
