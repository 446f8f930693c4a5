//! What a plan will cost before it runs: how long a step takes, what it waits for, what limits it. Pure functions of a
//! plan, a machine and a fabric; no clock, no LibTorch.

pub mod estimate;
pub mod hardware;
pub mod inference;
mod memory;
pub mod page;
pub mod picture;
pub mod recorded;
pub mod report;
pub mod rows;
pub mod schedules;
pub mod search;
pub mod simulate;
pub mod trace;
mod work;
pub mod workload;

pub use work::{Exchange, Part, PassWork, StageWork};
