//! What a model has, against what a checkpoint holds.

use std::collections::HashSet;
use std::path::Path;

use ds_arch::ModelConfig;

use super::error::BridgeError;
use super::inventory::{logical, scales_shape};
use super::problem::TensorProblem;
use crate::checkpoint::Checkpoint;
use crate::record::{Dtype, Record, RecordKind};

/// One parameter or bias of a checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) record: Record,
    /// Of the FP8 blocks that it came as.
    pub(super) scales: Option<Record>,
}

/// Whether a checkpoint holds every weight and bias of a model, in its shape; it may hold more. Reads no tensor.
///
/// # Errors
/// Everything that is missing or has another shape.
pub fn holds(folder: &Path, checkpoint: &Checkpoint, model: &ModelConfig) -> Result<(), BridgeError> {
    let (_, problems) = look_up(checkpoint, model, RecordKind::Weight);
    if problems.is_empty() { Ok(()) } else { Err(BridgeError::Tensors { folder: folder.to_owned(), problems }) }
}

/// All that the model has, in its order, and nothing else; or everything that is wrong. Moments are passed over. `weights`
/// says what of a parameter is meant.
pub(super) fn held(
    folder: &Path,
    checkpoint: &Checkpoint,
    model: &ModelConfig,
    weights: RecordKind,
) -> Result<Vec<Held>, BridgeError> {
    let (all, mut problems) = look_up(checkpoint, model, weights);
    let known: HashSet<&str> = all.iter().map(|held| held.record.name.as_str()).collect();
    let stranger = |record: &&Record| {
        matches!(record.kind, RecordKind::Weight | RecordKind::Bias) && !known.contains(record.name.as_str())
    };
    if problems.is_empty() {
        let strangers = checkpoint.records().iter().filter(stranger);
        problems.extend(strangers.map(|record| TensorProblem::Unexpected { name: record.name.clone() }));
    }
    if problems.is_empty() { Ok(all) } else { Err(BridgeError::Tensors { folder: folder.to_owned(), problems }) }
}

/// What there is of a model, and what is wrong with the rest.
fn look_up(checkpoint: &Checkpoint, model: &ModelConfig, weights: RecordKind) -> (Vec<Held>, Vec<TensorProblem>) {
    let mut problems = Vec::new();
    let mut all = Vec::new();
    let find = |name: &str, kind| {
        let records = checkpoint.records();
        let found = records.binary_search_by(|record| (record.name.as_str(), record.kind).cmp(&(name, kind)));
        found.ok().map(|i| records[i].clone())
    };
    for (name, kind, shape) in logical(model) {
        let kind = if kind == RecordKind::Weight { weights } else { kind };
        let Some(record) = find(&name, kind) else {
            problems.push(TensorProblem::Missing { name, shape });
            continue;
        };
        if record.shape != shape {
            problems.push(TensorProblem::Shape { name, found: record.shape, expected: shape });
            continue;
        }
        let scales = find(&name, RecordKind::Scale).filter(|_| kind == RecordKind::Weight);
        let fits = |scales: &Record| scales.shape == scales_shape(&shape) && scales.dtype == Dtype::F32;
        if let Some(scales) = scales.as_ref().filter(|scales| !fits(scales)) {
            let (found, expected) = (scales.shape.clone(), scales_shape(&shape));
            problems.push(TensorProblem::Shape { name: format!("scale of {name}"), found, expected });
        }
        all.push(Held { record, scales });
    }
    (all, problems)
}
