//! The network of a checkpoint, as the checkpoint says it.

use std::path::Path;

use ds_arch::ModelConfig;
use ds_checkpoint::Checkpoint;
use ds_checkpoint::bridge::Export;
use ds_plan::spec::read;

use crate::failure::Failure;

/// That of the config.json which it was imported with, or of the job that trained it.
pub(crate) fn network_of(folder: &Path, checkpoint: &Checkpoint) -> Result<ModelConfig, Failure> {
    if let Some(model) = Export::imported_model(folder, checkpoint)? {
        return Ok(model);
    }
    let written = &checkpoint.state().spec_yaml;
    if written.is_empty() {
        return Err(Failure::NoNetwork { path: folder.to_owned() });
    }
    Ok(read(written, &folder.join("manifest.json").to_string_lossy(), &[])?.spec.model)
}
