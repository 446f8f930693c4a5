//! Runs as traces, for tools that draw them.

pub mod chakra;
mod chrome;

pub use chrome::{Counter, chrome};
