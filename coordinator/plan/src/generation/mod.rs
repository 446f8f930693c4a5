//! How the model of a checkpoint writes: what the user asked for, checked against the model before anything is loaded.
//! What was [`Given`] on a command line becomes a [`GenerationPlan`], or everything that is wrong with it.

mod given;
mod plan;
mod problem;
mod source;

pub use given::Given;
pub use plan::{GenerationPlan, Sampling};
pub use problem::{FlagProblem, FlagProblems};
pub use source::{SourceError, job_of};
