//! Collectives as messages. Each takes how far its ranks have come and gives how far they are then. Bytes are those
//! of one rank's whole buffer unless a function says otherwise.

mod all_to_all;
mod halving;
mod hierarchical;
mod in_network;
mod pipeline;
mod ring;
mod tree;

pub use all_to_all::{all_to_all, hierarchical_all_to_all, pairwise_all_to_all};
pub use halving::halving_all_reduce;
pub use hierarchical::hierarchical_all_reduce;
pub use in_network::{InNetwork, in_network};
pub use pipeline::pipeline_sends;
pub use ring::{ring_all_gather, ring_all_reduce, ring_reduce_scatter};
pub use tree::tree_all_reduce;

#[cfg(test)]
mod tests;
