//! The parts of one optimizer update on one rank.

mod batches;
mod buckets;
mod ema;
mod executor;
mod ledger;
mod mail;
mod model_work;
mod norm;
mod notes;
mod optimizer;
mod reduce;
mod slots;
mod statistics;
mod trace;
mod zero;

pub use batches::{Batches, Cut, n_targets};
pub use ema::Ema;
pub use executor::{Executor, Pipeline, Worker};
pub use ledger::{Cause, Ledger, now};
pub use model_work::ModelWork;
pub use norm::{NormError, NormShare, clip};
pub(crate) use notes::Entry;
pub use notes::{Noted, Notes};
pub use optimizer::{Optimizer, master_kind};
pub use reduce::{sum_over, sum_over_holders};
pub use slots::{Slot, Slots, logical};
pub use statistics::{Statistics, maxvio, mean};
pub use trace::{Lane, Span, chrome};
pub use zero::Zero;
