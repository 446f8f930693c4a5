//! A job on a simulated network is played once as its plan expects it, before anything starts: what its fabric cannot
//! carry is said here.

use std::fmt::Display;

use ds_forecast::recorded::Player;
use ds_plan::JobPlan;
use ds_plan::spec::NetworkKind;

use crate::failure::Failure;
use crate::machine::{fabric_of, played_on};

/// Refuses a job whose steps cannot be played.
pub(crate) fn rehearse(plan: &JobPlan) -> Result<(), Failure> {
    let spec = plan.spec();
    if spec.cluster.network != NetworkKind::Simulated {
        return Ok(());
    }
    let refused = |error: &dyn Display| Failure::Simulation { reason: error.to_string() };
    let fabric = fabric_of(None, spec)?.ok_or(Failure::FabricUnnamed)?;
    let hardware = played_on(None, spec, &fabric)?;
    let player = Player::of(plan, &hardware, fabric).map_err(|error| refused(&error))?;
    player.play_measured(None).map(|_| ()).map_err(|error| refused(&error))
}
