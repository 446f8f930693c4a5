//! The bridge to Hugging Face's DeepSeek-V3 folders: import to a checkpoint, export from one.
//!
//! Both ways look at every name, shape and type first and write nothing until all fit. Then they copy tensor by tensor
//! through small buffers (files are read and written, never mapped), on several threads, into a folder with `.tmp` behind
//! its name; each finished file is noted with its checksums, so that a run that was killed goes on where it was; the
//! rename at the end is the commit. Tokenizers and what else stands beside the weights come along as they are.
//!
//! Values keep their type: BF16 stays BF16. FP8 blocks become singles, code times scale, and their scales are kept as
//! records of their own, so that an export gives the same codes and scales.

mod error;

mod element;
mod header;
mod inventory;
mod problem;
mod source;

mod convert;
mod job;
mod pull;
mod records;

mod beside;
mod draft;
mod layout;
mod limits;
mod room;
mod sink;
mod workers;

mod export;
mod import;
mod target;

pub use error::BridgeError;
pub use export::{Export, ExportOptions, ExportType};
pub use import::Import;
pub use limits::Limits;
pub use problem::TensorProblem;
pub use records::holds;
pub use workers::{Progress, Report};
