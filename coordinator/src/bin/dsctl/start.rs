//! The checkpoint that a job starts from, looked at before anything starts.

use std::path::Path;

use ds_checkpoint::Checkpoint;
use ds_checkpoint::bridge::holds;
use ds_plan::spec::Resolved;

use crate::failure::Failure;
use crate::network::network_of;
use crate::output::talk;

/// Whether the weights are there, and are those of the job's network. Says in what else both networks differ.
pub(crate) fn find_start(resolved: &Resolved) -> Result<(), Failure> {
    let Some(path) = &resolved.spec.checkpoint.start_from else { return Ok(()) };
    let failed = |error| Failure::StartFrom { path: path.clone(), error: Box::new(error) };
    let checkpoint = Checkpoint::open(path).map_err(failed)?;
    match network_of(path, &checkpoint) {
        Ok(network) => {
            for one in resolved.start_from(&network)? {
                talk(format_args!("checkpoint.start_from: {} is {} there, {} here", one.path, one.there, one.here));
            }
        }
        // Its tensors say enough.
        Err(Failure::NoNetwork { .. }) => {}
        Err(failure) => return Err(failure),
    }
    Ok(holds(path, &checkpoint, &resolved.spec.model)?)
}

/// The same, where the weights may lie on another machine.
pub(crate) fn compare_start(resolved: &Resolved) -> Result<(), Failure> {
    let is_there = |path: &Path| path.try_exists().unwrap_or(true);
    match &resolved.spec.checkpoint.start_from {
        Some(path) if !is_there(path) => {
            talk(format_args!("checkpoint.start_from: {} is not here, so nothing was compared", path.display()));
            Ok(())
        }
        _ => find_start(resolved),
    }
}
