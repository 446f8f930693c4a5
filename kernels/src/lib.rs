//! What tch does not offer: backward with given gradients for chosen inputs, autograd nodes written in Rust, fused
//! AdamW, norms of many tensors at once, products in eight-bit floats, and fused operations for the CPU. A small C++ shim (`cpp`)
//! stands below.

mod adamw;
mod backward;
pub mod cuda;
mod differentiable;
mod error;
mod ffi;
pub mod fp8;
pub mod fused;
mod library;
mod norms;

pub use adamw::{AdamW, fused_adamw};
pub use backward::backward;
pub use differentiable::{Differentiable, Forward, NodeError, apply};
pub use error::TorchError;
pub use library::load_cuda;
pub use norms::norms;
