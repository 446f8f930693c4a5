//! Matrix products in eight-bit floats with fine scales, as DeepSeek-V3 trains (arXiv 2412.19437, §3.3): E4M3 for all
//! operands, a scale for every tile of 1 × 128 of activations and gradients and for every block of 128 × 128 of weights,
//! sums in FP32.
//!
//! Shapes: m rows (tokens), k columns that a product sums over, n columns of the result.

mod audit;
mod experts;
mod linear;
mod on_cpu;
mod on_hopper;
mod product;
mod quantise;

pub use audit::{Audited, audited};
pub use experts::{KeptExperts, experts, experts_backward_inputs, experts_backward_weights, groups};
pub use linear::{linear, product_counts};
pub use on_hopper::prepare_products;
pub use product::{product, product_by_blocks};
pub use quantise::{ALONG, Quantised, ScaleRule, Scaling, quantise, quantise_gradient, step_by_step};
#[cfg(test)]
pub(crate) use quantise::{LEAST, LEAST_GRADIENT};
