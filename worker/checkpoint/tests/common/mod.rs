//! A small model's checkpoint, written as different layouts would.
#![allow(dead_code, reason = "every test file uses some of it")]

use std::ops::Range;
use std::path::{Path, PathBuf};

use ds_checkpoint::{CheckpointError, Draft, Dtype, Part, RecordKind, Shard, TrainState};

/// A tensor whose elements tell their place.
pub(crate) struct Tensor {
    pub(crate) name: &'static str,
    pub(crate) kind: RecordKind,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
}

impl Tensor {
    pub(crate) fn new(name: &'static str, kind: RecordKind, dtype: Dtype, shape: &[u64]) -> Self {
        Self { name, kind, dtype, shape: shape.to_vec() }
    }

    pub(crate) fn whole(&self) -> Vec<Range<u64>> {
        self.shape.iter().map(|&size| 0..size).collect()
    }

    /// The bytes of a box, element by element.
    pub(crate) fn bytes(&self, range: &[Range<u64>]) -> Vec<u8> {
        let mut points = vec![0u64];
        for (range, size) in range.iter().zip(&self.shape) {
            points = points.iter().flat_map(|at| range.clone().map(move |i| at * size + i)).collect();
        }
        points.into_iter().flat_map(|index| self.element(index)).collect()
    }

    fn element(&self, index: u64) -> Vec<u8> {
        let value = index as f64 + self.name.len() as f64 / 16.0;
        match self.dtype {
            Dtype::F64 => value.to_le_bytes().to_vec(),
            Dtype::F32 => (value as f32).to_le_bytes().to_vec(),
            Dtype::F16 => half::f16::from_f64(value).to_le_bytes().to_vec(),
            Dtype::BF16 => (value as f32).to_le_bytes()[2..].to_vec(),
        }
    }
}

pub(crate) fn state(step: u64) -> TrainState {
    TrainState {
        step,
        next_sample: step * 32,
        seed: u64::MAX,
        spec_yaml: "version: 1\nkind: train\n".to_owned(),
        ..TrainState::default()
    }
}

/// What a writer hands in: tensors, and of each a box.
pub(crate) type Boxes<'a> = Vec<(&'a Tensor, Vec<Range<u64>>)>;

pub(crate) fn write(draft: &Draft, writer: u32, boxes: &Boxes<'_>) -> Result<Part, CheckpointError> {
    let bytes: Vec<Vec<u8>> = boxes.iter().map(|(tensor, range)| tensor.bytes(range)).collect();
    let shards: Vec<Shard<'_>> = boxes
        .iter()
        .zip(&bytes)
        .map(|((tensor, range), bytes)| Shard {
            name: tensor.name,
            kind: tensor.kind,
            dtype: tensor.dtype,
            shape: &tensor.shape,
            range,
            bytes,
        })
        .collect();
    draft.write(writer, &shards)
}

/// Saves as one writer a list does.
pub(crate) fn save(root: &Path, step: u64, writers: &[Boxes<'_>]) -> Result<PathBuf, CheckpointError> {
    let draft = Draft::create(root, step)?;
    let parts = (0..).zip(writers).map(|(i, boxes)| write(&draft, i, boxes)).collect::<Result<_, _>>()?;
    let folder = draft.folder();
    draft.commit(parts, &state(step))?;
    Ok(folder)
}

/// A checkpoint of one small tensor by two writers.
pub(crate) fn save_small(root: &Path, step: u64) -> PathBuf {
    let tensor = Tensor::new("embed", RecordKind::Weight, Dtype::F32, &[4, 6]);
    save(root, step, &[vec![(&tensor, vec![0..2, 0..6])], vec![(&tensor, vec![2..4, 0..6])]]).expect("it saves")
}

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

pub(crate) fn names(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}
