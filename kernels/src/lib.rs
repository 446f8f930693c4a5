//! What tch does not offer: backward with given gradients for chosen inputs, autograd nodes written in Rust, fused
//! AdamW, norms of many tensors at once, products in eight-bit floats, fused operations for the CPU, and tensors that give
//! their bytes back for a while. A small C++ shim (`cpp`) stands below.

mod adamw;
mod backward;
mod counters;
pub mod cuda;
mod differentiable;
mod error;
mod ffi;
pub mod fp8;
pub mod fused;
mod library;
mod norms;
mod put_off;
mod storage;

pub use adamw::{AdamW, fused_adamw};
pub use backward::backward;
pub use counters::{ProductCounts, Which};
pub use differentiable::{Differentiable, Forward, NodeError, apply};
pub use error::TorchError;
pub use library::load_cuda;
pub use norms::norms;
pub use put_off::{PutOff, WeightGradient};
pub use storage::{count_bytes, live_bytes, peak_bytes, refill, release, restart_peak, reuse_blocks};
