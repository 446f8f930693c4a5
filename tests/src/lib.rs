//! The whole system from outside: the harness that all tests share.

#[cfg(feature = "train")]
pub mod products;
#[cfg(feature = "train")]
pub mod ranks;

pub mod in_time;
pub mod job;
pub mod launch;
pub mod programs;
pub mod standalone;

/// Says that a test could not be run here. Past the capture of the test harness, which would swallow it.
pub fn not_run(why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "NOT RUN: {why}");
}
