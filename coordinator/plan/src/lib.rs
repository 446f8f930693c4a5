//! From a job spec to a complete, checked plan. Pure functions; the same plan is printed, executed and resumed.

pub mod expert_placement;
pub mod generation;
pub mod schedule;
pub mod spec;

mod executable;
mod grid;
mod holders;
mod job;
mod learning_rate;
mod memory;
mod refusal;
mod report;
mod seats;
mod stages;
#[cfg(test)]
mod testing;

pub use executable::{NotExecutable, PlannedOnly, executable, not_executable_yet};
pub use grid::{Coordinates, Grid, Group, GroupId, GroupKind, RankId};
pub use holders::{SharedParameter, Writes};
pub use job::{JobPlan, RankPlan, Stage};
pub use learning_rate::learning_rate;
pub use memory::{IMBALANCE, MemoryEstimate};
pub use refusal::PlanError;
pub use report::{
    GridReport, GroupReport, PlanReport, RankReport, ScheduleReport, SharedReport, StageReport, Totals, bytes, report,
    schedule_report, stage_reports,
};
pub use seats::{Seat, SeatError, SeatUnit, SeatsFree, seats};
