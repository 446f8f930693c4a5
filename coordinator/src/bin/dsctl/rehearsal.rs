//! A job on a simulated network is played once as its plan expects it, before anything starts: what its fabric cannot
//! carry is said here.

use ds_forecast::recorded::Player;
use ds_forecast::simulate::{PlannedStep, Skew};
use ds_plan::JobPlan;
use ds_plan::spec::NetworkKind;
use ds_topology::routing::Policy;

use crate::failure::Failure;
use crate::machine::{fabric_of, hardware_named, preset, usual};

/// Refuses a job whose steps cannot be played.
pub(crate) fn rehearse(plan: &JobPlan) -> Result<(), Failure> {
    let spec = plan.spec();
    if spec.cluster.network != NetworkKind::Simulated {
        return Ok(());
    }
    let refused = |error: &dyn std::fmt::Display| Failure::Simulation { reason: error.to_string() };
    let fabric = fabric_of(None, spec)?.ok_or(Failure::FabricUnnamed)?;
    let hardware = preset(hardware_named(None, spec, Some(&fabric)).unwrap_or(usual(spec.cluster.device)))?;
    let step = PlannedStep::new(plan, &hardware, &Skew::Uniform, fabric.n_gpus()).map_err(|error| refused(&error))?;
    let player = Player::new(step, (plan, &hardware), (fabric, Policy::default()));
    let record = player.record(None).map_err(|error| refused(&error))?;
    player.play(&record).map(|_| ()).map_err(|error| refused(&error))
}
