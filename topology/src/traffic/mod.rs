//! Traffic: what ranks say to each other as messages that wait for messages, and as flows over a fabric's routes.
//!
//! A [`Traffic`] is a list of messages. Collectives ([`collective`]) and the exchanges of a mixture of experts
//! ([`moe`]) append to it; [`Traffic::flows`] routes them, so that `flow::simulate` can play them.

pub mod collective;
mod frontier;
mod message;
pub mod moe;
mod routed;
#[cfg(test)]
pub(crate) mod star;

pub use frontier::Frontier;
pub use message::{Message, MessageId, Traffic, Way};
pub use routed::Routed;
