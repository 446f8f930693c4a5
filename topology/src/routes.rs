//! Where messages go: what a fabric and a routing policy say together, and all that traffic needs to know of them.

use crate::EndpointId;
use crate::flow::{LinkId, Network};

/// Two endpoints between which no path is left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no route from endpoint {} to endpoint {}: every path crosses something that has failed", from.0, to.0)]
pub struct NoRoute {
    /// The sender.
    pub from: EndpointId,
    /// The receiver.
    pub to: EndpointId,
}

/// Paths of messages over a network.
pub trait Routes {
    /// The links, both of nodes and between them.
    fn network(&self) -> &Network;

    /// Endpoints, counted node after node.
    fn n_endpoints(&self) -> u32;

    /// Endpoints of a node; they reach each other without the network.
    fn endpoints_per_node(&self) -> u32;

    /// Gives every path of a message with the share of its bytes; the shares add up to 1. Most policies give one path;
    /// spraying gives several. `key` tells messages between the same two endpoints apart, for hashes. A policy that
    /// follows load counts the message.
    ///
    /// # Errors
    /// When none is left.
    fn paths(
        &mut self,
        from: EndpointId,
        to: EndpointId,
        key: u64,
        give: &mut dyn FnMut(f64, &[LinkId]),
    ) -> Result<(), NoRoute>;
}
