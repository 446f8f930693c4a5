//! The coordinator from outside: over gRPC, with node agents and ranks that the tests play.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands; helpers of tests are tests too")]

mod cast;
mod days;
mod ends;
mod readers;
mod restart;
mod token;
mod world;
