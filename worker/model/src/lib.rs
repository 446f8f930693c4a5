//! The network on one device, as phases. It does not know that ranks exist: experts that live elsewhere are reached
//! through [`ExpertExchange`], whose one-rank implementation [`OneRank`] is the meaning of all others.
//!
//! Shapes: b sequences, t tokens of each, n = b·t tokens, d width of the residual stream, k experts of a token,
//! e experts, r = n·k rows on their way to experts.
//!
//! The autograd graph is cut at every phase boundary: a [`tape`] remembers phases, and backward walks them in reverse
//! with the gradients that it is given. So what travels between ranks never stands inside a graph.

mod attention;
mod bias;
mod error;
mod exchange;
mod feed_forward;
pub mod gate;
mod init;
mod loss;
mod moe;
mod norm;
mod parameters;
mod precision;
pub mod rope;
mod sequence;
mod stage;
mod tape;
mod turns;
mod watch;
mod weight_work;

pub use bias::{BiasStep, update_bias};
pub use error::ModelError;
pub use exchange::{Arrival, Coming, ExpertExchange, Leg, OneRank, Route, SummingExchange, Visitors, Visits};
pub use loss::{IGNORED, LossWeights, StageLosses};
pub use parameters::{Gradients, Logical, StagePart, StoredParameter};
pub use precision::{Precision, Products};
pub use sequence::{SequenceExchange, SequenceShare};
pub use stage::{Cache, Decoded, Microbatch, Place, Saved, StageForward, StageInput, StageModel, Step, column};
pub use turns::Turn;
pub use watch::{Seen, Watch};
pub use weight_work::WeightWork;
