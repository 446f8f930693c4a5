//! What a rank computes and sends for one microbatch under a layout, as data: kernels with their shapes, collectives
//! with their bytes. No machine is known here.

mod attention;
mod block;
mod ends;
mod feed_forward;
mod layout;
mod network;
mod of_plan;
mod wire;

pub use block::{Block, Collective, Group, Kernel, Role};
pub use ends::{embedding, head, prediction};
pub use layout::{Dispatch, Kernels, Layout, Recompute};
pub use network::{Attention, Experts, FeedForward, Network, Window};

pub use attention::attention;
pub use feed_forward::{dense, experts, shared_experts};
pub use wire::Wire;
