//! DeepSeek-V3 as Hugging Face keeps it: `config.json` and the names of tensors.
//!
//! Two spellings of rotary positions are read: `rope_theta` with `rope_scaling`, as the released file has them, and
//! `rope_parameters` of transformers 5. The released one is written, which both read.

mod fields;
mod names;
mod problem;
mod read;
mod rope;
mod write;

pub use names::{SharedCopy, is_derived, is_quantised, scale_name, shared_copies};
pub use problem::{ConfigProblem, ConfigProblems};
pub use read::{HuggingFaceConfig, read};
pub use write::{WeightType, write};
