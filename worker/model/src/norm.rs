//! RMSNorm (arXiv 1910.07467).

use ds_kernels::fused;
use tch::Tensor;

use crate::ModelError;

/// x / √(mean x² + ε) · w over the last dimension.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, ModelError> {
    Ok(fused::rms_norm(x, weight, eps)?)
}
