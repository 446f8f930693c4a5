//! A run, as it is watched.

pub(crate) mod follow;
mod history;
mod line;
pub(crate) mod report;
pub(crate) mod screen;
mod simulated;
mod summary;
