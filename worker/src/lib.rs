//! One rank of a job: a training thread and the agent that speaks for it; and the node agent that starts ranks.

pub mod agent;
pub mod comm;
pub mod error;
mod exchange;
pub mod node;
pub mod session;
pub mod step;
pub mod trainer;
