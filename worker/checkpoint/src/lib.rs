//! The checkpoint's format: write, commit, verify, read from any layout; and the bridge to Hugging Face's. No LibTorch.
//!
//! A checkpoint is a folder `step-00000100` with one safetensors file a writer and `manifest.json`. Tensors go by
//! logical name and kind; the manifest says which box of which tensor lies where, so that whoever reads need not know
//! how those who wrote were laid out. While it is written the folder is called `step-00000100.tmp`; the rename is the
//! commit.

mod boxes;
pub mod bridge;
mod checkpoint;
mod companions;
mod disk;
mod draft;
mod error;
mod folder;
mod manifest;
mod part;
mod record;
mod rules;
mod state;
mod tensor_file;

pub use checkpoint::Checkpoint;
pub use draft::{Draft, Shard};
pub use error::{CheckpointError, Rule};
pub use folder::{Newest, newest_whole, prune};
pub use part::Part;
pub use record::{Dtype, Piece, Record, RecordKind};
pub use state::{Companion, Origin, TrainState};
