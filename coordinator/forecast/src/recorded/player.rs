//! Plays steps of one job, recorded or measured, on one fabric.

use ds_plan::JobPlan;
use ds_topology::fabric::Fabric;
use ds_topology::routing::{FabricRoutes, Policy};

use super::measured::Measured;
use super::price::Prices;
use super::record::StepRecord;
use super::report::{Replayed, report};
use crate::hardware::Hardware;
use crate::simulate::{Epoch, PlannedError, PlannedStep, Run, SimulateError, Skew, Stage, replay};

/// A job on the seats of a fabric.
pub struct Player {
    step: PlannedStep,
    prices: Prices,
    exchange_seconds: f64,
    fabric: Fabric,
    routing: Policy,
}

impl Player {
    /// A step of a plan as that machine computes it, on that fabric.
    pub fn new(
        step: PlannedStep,
        (plan, hardware): (&JobPlan, &Hardware),
        (fabric, routing): (Fabric, Policy),
    ) -> Self {
        Self { step, prices: Prices::new(plan, hardware), exchange_seconds: hardware.exchange_seconds, fabric, routing }
    }

    /// A step as it is expected where all experts are alike and switches route by destination.
    ///
    /// # Errors
    /// When the model's gate makes no sense.
    pub fn of(plan: &JobPlan, hardware: &Hardware, fabric: Fabric) -> Result<Self, PlannedError> {
        let step = PlannedStep::new(plan, hardware, &Skew::Uniform, fabric.n_gpus())?;
        Ok(Self::new(step, (plan, hardware), (fabric, Policy::default())))
    }

    /// Where it is played.
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// Plays a step whose exchanges were measured; as it is expected, if they were not.
    ///
    /// # Errors
    /// When the fabric is too small, no route is left, an exchange of the plan was not measured, or the step can never end.
    pub fn play_measured(&self, measured: Option<&Measured>) -> Result<Run, SimulateError> {
        self.play(&self.record(measured)?)
    }

    /// What ranks write down of a step whose exchanges were measured; of one as it is expected, if they were not.
    ///
    /// # Errors
    /// When the fabric is too small, no route is left, or an exchange of the plan was not measured.
    pub fn record(&self, measured: Option<&Measured>) -> Result<StepRecord, SimulateError> {
        let mut routes = self.routes();
        self.step.record(&mut self.epoch(&mut routes), measured)
    }

    /// A recorded step on the virtual clock.
    ///
    /// # Errors
    /// When the record does not fit together, the fabric is too small, no route is left, or the step can never end.
    pub fn play(&self, record: &StepRecord) -> Result<Run, SimulateError> {
        let stage = Stage {
            seats: self.step.seats(),
            seconds: &|rank, event| self.prices.seconds(rank, event),
            overhead_seconds: self.exchange_seconds,
        };
        let mut routes = self.routes();
        replay(record, &stage, &mut [self.epoch(&mut routes)])
    }

    /// What a run says of the fabric.
    pub fn report(&self, run: &Run) -> Replayed {
        report(run, &self.fabric)
    }

    fn routes(&self) -> FabricRoutes {
        FabricRoutes::new(self.fabric.clone(), self.routing)
    }

    fn epoch<'a>(&self, routes: &'a mut FabricRoutes) -> Epoch<'a> {
        Epoch { from: 0.0, routes, down: self.fabric.down().to_vec() }
    }
}
