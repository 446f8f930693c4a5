//! Traffic of a mixture of experts: which rows of tokens go from which rank to which, and as what messages.
//!
//! A gate ([`Gate`]) says how tokens choose experts; [`Demand`] counts how many rows each rank has for each other one,
//! in expectation or by drawing tokens; [`dispatch`] and [`combine`] make messages of it.
//!
//! Assumptions: a token's row goes to a rank once, however many of its experts are there. Every rank has as many
//! tokens. Experts lie on ranks in equal runs, ranks on nodes as the caller says.

mod demand;
mod exchange;
mod gate;
mod group;
mod random;
mod skew;
#[cfg(test)]
mod tests;

pub use demand::Demand;
pub use exchange::{Forwarding, Mode, RowFormat, combine, dispatch};
pub use gate::{Gate, GateError};
pub use group::ExpertGroup;
pub use random::Random;
pub use skew::{Popularity, SkewError, recorded_loads};
