//! Keeps jobs alive: what nodes there are, what waits, who sits where, what happened.

pub mod cluster;
pub mod home;
pub mod runs;
pub mod server;
pub mod store;
