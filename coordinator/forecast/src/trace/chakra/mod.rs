//! Execution traces of MLCommons Chakra (arXiv 2305.14516) in place of a step of our own: one file a rank, as JSON or in
//! the protobuf form, played on a fabric.
//!
//! A node begins when the nodes that it depends on have ended. A computation takes its `duration_micros`. A collective
//! begins when all ranks of its group have come to it: all-reduce, reduce-scatter and all-gather go round a ring,
//! all-to-all sends everything at once, a broadcast goes out from its root; `comm_size` is a rank's whole buffer. The
//! n-th collective of a rank in a group (`pg_name`, or all ranks) meets the n-th of the others; the n-th send to a rank
//! meets its n-th receive from there, among those of one `comm_tag`.

mod json;
mod node;
mod play;
mod protobuf;
#[cfg(test)]
mod tests;

pub use node::{ChakraError, Collective, Node, Work};
pub use play::{ChakraRun, play};

/// Reads the trace of a rank: JSON when it begins like JSON, protobuf otherwise.
///
/// # Errors
/// When it is neither, or a node of it makes no sense.
pub fn read(bytes: &[u8]) -> Result<Vec<Node>, ChakraError> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, Some(b'{' | b'[')) { json::read(bytes) } else { protobuf::read(bytes) }
}
