//! One rank of a job: a training thread and the agent that speaks for it; the node agent that starts ranks; and what a
//! checkpoint's model writes.

pub mod agent;
pub mod comm;
pub mod error;
mod exchange;
pub mod generate;
pub mod node;
pub mod session;
pub mod step;
pub mod trainer;
