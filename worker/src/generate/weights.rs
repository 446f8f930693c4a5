//! The weights of a checkpoint for a model that only reads them: no moments, no masters.

use ds_arch::gate_bias_name;
use ds_checkpoint::{Checkpoint, CheckpointError, RecordKind};
use ds_model::StageModel;

use crate::error::RankError;
use crate::step::logical;
use crate::trainer::read_into;

/// Reads what the model holds, in its own number formats: the weights, or with `ema` their moving averages. A gate whose
/// bias was not kept has none.
///
/// # Errors
/// When the checkpoint lacks a weight, or does not read.
pub fn load(checkpoint: &Checkpoint, model: &StageModel, ema: bool) -> Result<(), RankError> {
    let kind = checkpoint.weights(ema)?;
    for (name, slot) in logical(model) {
        read_into(checkpoint, name, kind, &slot.weight(model))?;
    }
    for (layer, bias) in model.biases() {
        match read_into(checkpoint, &gate_bias_name(layer), RecordKind::Bias, &bias) {
            Err(RankError::Checkpoint(CheckpointError::NoSuchRecord { .. })) => {}
            other => other?,
        }
    }
    Ok(())
}
