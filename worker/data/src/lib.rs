//! Text becomes tokens, tokens become windows, and windows have an order.
//!
//! * [`prepare`] turns text or JSONL (also zstd) into a folder of tokens, once.
//! * [`TokenFolder`] reads such a folder: memory-mapped shards, cut into windows.
//! * [`Order`] says which window is the i-th sample, as a pure function.
//! * [`trigram`] says what a model must beat.
//!
//! # What a window is
//! The documents of a source lie one after another, each closed by one token that ends it, as one long row. Windows are
//! cut from that row wherever it stands: window `i` holds the tokens from `i * sequence` on, `sequence` of them that a
//! model reads and `extra` more that it only predicts. So each window shares its last `extra` tokens with the next,
//! no token is padded, and a document may begin or end anywhere inside.

mod documents;
mod encoder;
mod error;
mod folder;
mod key;
mod manifest;
mod order;
mod prepare;
mod shard;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod tokenizer;
pub mod trigram;
mod vocabulary;
mod writer;

pub use error::DataError;
pub use folder::TokenFolder;
pub use order::Order;
pub use prepare::{Progress, prepare};
pub use stream::TextStream;
pub use tokenizer::TokenizerChoice;
pub use vocabulary::Vocabulary;
