//! A Hugging Face folder becomes a checkpoint of step 0 without moments.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ds_arch::ModelConfig;

use super::beside;
use super::draft::{Draft, Note};
use super::element::Element;
use super::error::BridgeError;
use super::inventory::{Inventory, Item, scales_shape};
use super::job::{Job, Target, Work};
use super::layout::{FilePlan, Placed, cut};
use super::limits::Limits;
use super::pull::Tensor;
use super::source::{Source, SourceTensor};
use super::target::{Crossing, fingerprint};
use super::workers::{Comparison, Progress, Report};
use crate::draft::seal;
use crate::manifest::FileEntry;
use crate::part::Part;
use crate::record::{Piece, Record, RecordKind, key};
use crate::state::{Companion, Origin, TrainState};
use crate::tensor_file;

/// A file of a checkpoint that is made from another: what is lost when a run is killed, at most, on every thread.
const PART_BYTES: u64 = 1 << 30;

/// A folder whose config and headers are those of a model of ours.
#[derive(Debug)]
pub struct Import {
    source: Source,
    inventory: Inventory,
    part_bytes: u64,
}

impl Import {
    /// Reads config, index and headers; no tensor.
    ///
    /// # Errors
    /// Everything that is wrong with the config, or with the tensors.
    pub fn open(folder: &Path) -> Result<Self, BridgeError> {
        let source = Source::open(folder)?;
        let inventory = Inventory::of(&source)?;
        Ok(Self { source, inventory, part_bytes: PART_BYTES })
    }

    /// With smaller or larger files than one GiB; a tensor that is larger has one of its own.
    pub fn with_part_bytes(self, part_bytes: u64) -> Self {
        Self { part_bytes, ..self }
    }

    /// The network, as its files have it.
    pub fn model(&self) -> &ModelConfig {
        &self.inventory.model
    }

    /// MTP modules that the config promises and the files do not have.
    pub fn n_missing_mtp(&self) -> u32 {
        self.source.config.model.mtp.depth - self.inventory.model.mtp.depth
    }

    /// Tensors that follow from the config, which are left out.
    pub fn n_derived(&self) -> usize {
        self.inventory.n_derived
    }

    /// Names and bytes of the files that will be written.
    ///
    /// # Errors
    /// When a header would be too long.
    pub fn files(&self) -> Result<Vec<(String, u64)>, BridgeError> {
        Ok(self.plan()?.files.into_iter().map(|file| (file.name, file.length)).collect())
    }

    /// Writes the checkpoint `target`, or goes on where an earlier run with the same folder was killed or stopped.
    ///
    /// # Errors
    /// When a tensor cannot be read, is not what it must be, the disk refuses, or `progress` breaks. There is no
    /// `target` then.
    pub fn run(
        &self,
        target: &Path,
        limits: Limits,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(PathBuf, Report), BridgeError> {
        let plan = self.plan()?;
        let commit = |draft: &Draft, notes: &[Note]| {
            let parts = (0..).zip(plan.files.iter().zip(notes)).map(|(i, (file, note))| part(i, file, note)).collect();
            let companions = beside::take_in(&self.source.folder, draft.folder())?;
            Ok(seal(draft.folder(), 0, parts, &self.state(companions))?)
        };
        plan.run(target, limits, progress, commit, |_| true)
    }

    fn plan(&self) -> Result<Crossing<'_>, BridgeError> {
        let jobs = self.inventory.items.iter().flat_map(|item| self.jobs(item)).collect();
        let parts = (0..).zip(cut(jobs, self.part_bytes));
        let file = |(writer, jobs)| FilePlan::new(&self.source.folder, tensor_file::name(writer), jobs, None);
        let files = parts.map(file).collect::<Result<Vec<_>, _>>()?;
        let comparisons = self.inventory.copies.iter().map(|(copy, tensor)| {
            let one = self.tensor(&copy.name, tensor);
            let other = self.tensor(copy.of, &self.source.tensors[copy.of]);
            Comparison { copy, one, other }
        });
        Ok(Crossing {
            source: &self.source.folder,
            run: self.fingerprint(&files),
            comparisons: comparisons.collect(),
            files,
        })
    }

    fn tensor<'a>(&'a self, name: &'a str, tensor: &'a SourceTensor) -> Tensor<'a> {
        Tensor::File { file: &self.source.files[tensor.file], name, tensor }
    }

    fn jobs<'a>(&'a self, item: &'a Item) -> Vec<Job<'a>> {
        let element = Element::from(item.element.kept());
        let target = |kind, shape: &[u64], element| {
            let whole: Vec<_> = shape.iter().map(|&size| 0..size).collect();
            let key = key(kind, &item.name, shape, &whole);
            Target { key, name: item.name.clone(), kind, element, shape: shape.to_vec() }
        };
        let tensor = self.tensor(&item.name, &item.tensor);
        let Some(scales) = &item.scales else {
            let targets = vec![target(item.kind, &item.tensor.shape, element)];
            return vec![Job { work: Work::Copy(tensor), targets }];
        };
        let scales = self.tensor(&item.name, scales);
        let decoded = vec![target(item.kind, &item.tensor.shape, element)];
        let kept = vec![target(RecordKind::Scale, &scales_shape(&item.tensor.shape), Element::F32)];
        vec![
            Job { work: Work::Decode { codes: tensor, scales: scales.clone() }, targets: decoded },
            Job { work: Work::Scales(scales), targets: kept },
        ]
    }

    fn fingerprint(&self, files: &[FilePlan<'_>]) -> String {
        let mut parts = vec![b"import".to_vec(), self.source.config_text.clone().into_bytes()];
        for file in &self.source.files {
            parts.push(file.path.to_string_lossy().into_owned().into_bytes());
            parts.push([&file.mark.length.to_le_bytes()[..], &file.mark.changed.to_le_bytes()].concat());
            parts.push(file.header.as_bytes().to_vec());
        }
        parts.extend(files.iter().map(|file| file.header.clone()));
        fingerprint(parts.iter().map(Vec::as_slice))
    }

    fn state(&self, companions: Vec<Companion>) -> TrainState {
        let origin = Origin {
            config: self.source.config_text.clone(),
            mtp_depth: self.inventory.model.mtp.depth,
            shared_copies: self.inventory.copies.iter().map(|(copy, _)| copy.name.clone()).collect(),
            companions,
        };
        TrainState { origin: Some(origin), ..TrainState::default() }
    }
}

/// What a writer of a checkpoint would have handed in for this file.
fn part(writer: u32, plan: &FilePlan<'_>, note: &Note) -> Part {
    let (name, length) = (plan.name.clone(), plan.length);
    let (header_length, header_checksum) = (plan.header.len() as u64, note.header.clone());
    let record = |(placed, checksum): (&Placed, &String)| {
        let target = &placed.target;
        let range = target.shape.iter().map(|&size| 0..size).collect();
        let (offset, length, checksum) = (placed.start, placed.length, checksum.clone());
        Record {
            name: target.name.clone(),
            kind: target.kind,
            dtype: target.element.kept(),
            shape: target.shape.clone(),
            pieces: vec![Piece { range, file: plan.name.clone(), offset, length, checksum }],
        }
    };
    let records = plan.tensors.iter().zip(&note.tensors).map(record).collect();
    Part { step: 0, writer, file: FileEntry { name, length, header_length, header_checksum }, records }
}
