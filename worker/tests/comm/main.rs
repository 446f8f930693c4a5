//! What ranks may rely on when they talk; every test runs over all backends that this build has.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands; helpers of tests are tests too")]

mod cards;
mod conformance;
mod failures;
mod meeting;
#[cfg(feature = "mpi")]
mod mpi;
mod planes;
mod world;
