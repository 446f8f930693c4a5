//! What one writer did, as it travels to whoever commits.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{CheckpointError, Rule};
use crate::manifest::FileEntry;
use crate::record::{Record, label};

/// One writer's file and what lies in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub(crate) step: u64,
    pub(crate) writer: u32,
    pub(crate) file: FileEntry,
    /// One a shard, each with one piece.
    pub(crate) records: Vec<Record>,
}

impl Part {
    /// For the network.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers, texts and lists make JSON")
    }

    /// From the network. What it says is checked when it is committed.
    ///
    /// # Errors
    /// When the bytes are not those of a part.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        serde_json::from_slice(bytes).map_err(|error| CheckpointError::Part { reason: error.to_string() })
    }
}

/// The files of all parts, in the order of writers, and their records put together.
pub(crate) fn join(
    draft: &Path,
    step: u64,
    mut parts: Vec<Part>,
) -> Result<(Vec<FileEntry>, Vec<Record>), CheckpointError> {
    let refused = |reason| CheckpointError::Parts { path: draft.to_owned(), reason };
    parts.sort_by_key(|part| part.writer);
    let mut files = Vec::with_capacity(parts.len());
    let mut records = BTreeMap::new();
    for (expected, part) in parts.into_iter().enumerate() {
        if part.writer as usize != expected {
            return Err(refused(format!(
                "writer {expected} should be next, but the next part is of writer {}",
                part.writer
            )));
        }
        if part.step != step {
            return Err(refused(format!("writer {expected} wrote step {}, not {step}", part.step)));
        }
        let name = crate::tensor_file::name(part.writer);
        if part.file.name != name {
            return Err(refused(format!("writer {expected} wrote {:?}, not {name:?}", part.file.name)));
        }
        for record in part.records {
            add(draft, &mut records, record)?;
        }
        files.push(part.file);
    }
    Ok((files, records.into_values().collect()))
}

type Records = BTreeMap<(String, crate::record::RecordKind), Record>;

fn add(draft: &Path, records: &mut Records, record: Record) -> Result<(), CheckpointError> {
    let Some(known) = records.get_mut(&(record.name.clone(), record.kind)) else {
        records.insert((record.name.clone(), record.kind), record);
        return Ok(());
    };
    if (known.dtype, &known.shape) == (record.dtype, &record.shape) {
        known.pieces.extend(record.pieces);
        return Ok(());
    }
    let file = |record: &Record| record.pieces.first().map(|piece| piece.file.clone()).unwrap_or_default();
    let seen = |record: &Record| format!("{:?} {:?}", record.dtype, record.shape);
    let rule = Rule::Disagree {
        first: seen(known),
        first_file: file(known),
        second: seen(&record),
        second_file: file(&record),
    };
    Err(CheckpointError::Record {
        path: draft.to_owned(),
        record: label(record.kind, &record.name),
        rule: Box::new(rule),
    })
}
