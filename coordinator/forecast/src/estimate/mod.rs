//! How long a step takes on a machine, by formula: kernels under a roofline, collectives by latency and bandwidth, the
//! pipeline's bubble, the reduction of gradients, the optimizer. Every part of the sum has a name.

mod collective;
mod measured;
mod on_fabric;
mod optimizer;
mod played;
mod roofline;
mod stage;
mod stage_work;
mod step;
mod term;

pub use collective::{ExchangeAlone, exchange_alone, ring_seconds, seconds_of, spans_nodes};
pub use measured::{Measured, calibrated};
pub use on_fabric::{OnFabricError, Slowdown, dispatch_loads, slowdown};
pub(crate) use played::busiest;
pub use played::{pair_seconds, played_timeline};
pub use roofline::{launch_seconds, seconds};
pub(crate) use stage::layer_blocks;
pub use stage::{RankTime, StageTime, rank_times, stage_times};
pub use stage_work::stage_work;
pub use step::{Part, StepEstimate, estimate, estimate_with};
pub use term::{NoTerm, Term, Terms};
