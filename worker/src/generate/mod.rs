//! The model of a checkpoint writes: prompts in, tokens out, on one rank or on several that are threads of this process.
//!
//! Every rank of a stage holds a share of the experts and continues prompts of its own; the stages of a pipeline work one
//! after another. In a round, each sequence decodes its newest token and the drafts behind it over a cache of compressed
//! keys and values; the last stage draws what follows, lets its MTP modules draft on, and tells all ranks. So every rank
//! knows every sequence, and nothing else has to be agreed on.
//!
//! What is drawn depends on the seed, the sequence and the position alone. So batches and ranks change nothing but the
//! rounding of logits.

mod chance;
mod drafter;
mod law;
mod rank;
mod run;
mod sequence;
mod speculative;
mod verdict;
mod weights;

pub use chance::{Chance, Draw};
pub use law::{Law, NotFinite};
pub use rank::Tell;
pub use run::{Request, Summary, Written, generate};
pub use sequence::Ended;
pub use speculative::{acceptance, judge, residual};
pub use weights::load as load_weights;
