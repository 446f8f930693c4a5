//! Flows over shared links: who gets how much of what (max-min fair), and when each is through.

mod case;
mod fair_share;
mod generate;
mod problem;
mod simulate;

pub use case::{Case, Expected, Platform};
pub use generate::{Bytes, GenerateError, Generator, Sizes};
pub use problem::{Flow, FlowError, FlowId, Link, LinkId, Network, Weighting};
pub use simulate::{Outcome, simulate};
