//! Flows over shared links: who gets how much of what (max-min fair), and when each is through.

mod case;
mod generate;
mod paths;
mod problem;
#[cfg(test)]
mod reference;
mod shares;
mod simulate;
#[cfg(test)]
mod tests;

pub use case::{Case, Expected, Platform};
pub use generate::{Bytes, GenerateError, Generator, Sizes};
pub use problem::{Flow, FlowError, FlowId, Link, LinkId, Network, Weighting};
pub use simulate::{Outcome, simulate};
