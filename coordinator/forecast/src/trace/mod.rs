//! Runs as traces, for tools that draw them.

mod chrome;

pub use chrome::{Counter, chrome};
