//! Flows over shared links: who gets how much of what (max-min fair), and when each is through.

mod begins;
mod case;
mod change;
mod check;
mod error;
mod flow_set;
mod generate;
mod paths;
mod problem;
#[cfg(test)]
mod reference;
mod rule;
mod run;
mod setting;
mod shares;
mod simulate;
#[cfg(test)]
mod tests;
mod watch;

pub use case::{Case, CaseError, Expected, Platform};
pub use change::Change;
pub use error::FlowError;
pub use flow_set::FlowSet;
pub use generate::{Bytes, GenerateError, Generator};
pub use paths::PathId;
pub use problem::{Flow, FlowId, Link, LinkId, Network, Weighting};
pub use rule::{RuleError, Sizes};
pub use simulate::{Outcome, Simulation, simulate};
pub use watch::{HeldBy, Moment, Watch, Watched};
