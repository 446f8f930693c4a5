//! What recorded computations take on a machine of choice: never the time that they took.

use ds_plan::JobPlan;

use super::record::{Does, Event};
use crate::estimate::stage_work;
use crate::hardware::Hardware;
use crate::simulate::closing;
use crate::{Part, StageWork};

/// Seconds of the computations of a plan on a machine.
#[derive(Clone, Debug)]
pub struct Prices {
    stages: Vec<StageWork>,
    /// Of the update, by pipeline coordinate.
    updates: Vec<f64>,
    /// Ranks of a pipeline coordinate.
    per_pipeline: u32,
}

impl Prices {
    /// Of a plan's stages on that machine.
    pub fn new(plan: &JobPlan, hardware: &Hardware) -> Self {
        Self {
            stages: stage_work(plan, hardware),
            updates: closing(plan, hardware).iter().map(|closing| closing.optimizer_seconds).collect(),
            per_pipeline: plan.grid().n_ranks() / plan.grid().n_pipeline(),
        }
    }

    /// Seconds of an event of a rank; 0 for what is no computation, or none that the workload has.
    pub fn seconds(&self, rank: u32, event: &Event) -> f64 {
        let Does::Compute { part, load } = event.does else { return 0.0 };
        let Some(piece) = event.piece else {
            return self.updates.get((rank / self.per_pipeline) as usize).copied().unwrap_or(0.0);
        };
        let Some(stage) = self.stages.get(piece.stage.0 as usize) else { return 0.0 };
        match stage.part(piece.pass, part) {
            Some(Part::Compute { seconds, experts_of: Some(_), .. }) => seconds * load,
            Some(Part::Compute { seconds, .. }) => *seconds,
            Some(Part::Exchange { .. }) | None => 0.0,
        }
    }
}
