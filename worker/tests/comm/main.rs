//! What ranks may rely on when they talk; every test runs over both backends.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands; helpers of tests are tests too")]

mod conformance;
mod failures;
mod meeting;
mod world;
