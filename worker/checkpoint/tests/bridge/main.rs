//! The bridge to Hugging Face's folders, from outside.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands; helpers of tests are tests too")]

mod damage;
mod folder;
mod resume;
mod round_trip;
