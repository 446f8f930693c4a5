//! dsctl from outside: what it prints, where, and how it exits. Nothing here needs LibTorch.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands; helpers of tests are tests too")]

mod bridge;
mod coordinators;
mod data;
mod fabric;
mod generate;
mod jobs;
mod launches;
mod place;
mod plans;
mod simulate;
