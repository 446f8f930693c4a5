//! A checkpoint becomes a Hugging Face folder.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ds_arch::ModelConfig;
use ds_arch::hugging_face::{self, WeightType, is_quantised, scale_name, shared_copies};
use serde_json::{Map, Value, json};

use super::beside;
use super::draft::{Draft, Note};
use super::element::Element;
use super::error::BridgeError;
use super::inventory::scales_shape;
use super::job::{Job, Target, Work};
use super::layout::{FilePlan, cut};
use super::limits::Limits;
use super::pull::Tensor;
use super::records::{Held, held};
use super::source::{self, CONFIG, INDEX, SINGLE};
use super::target::{Crossing, fingerprint};
use super::workers::{Progress, Report};
use crate::checkpoint::Checkpoint;
use crate::companions;
use crate::record::{Dtype, RecordKind};

/// Of a `config.json` that is taken as a model for another.
const CONFIG_LIMIT: u64 = 1 << 24;

/// The type of exported weights. Gate biases stay singles, as in released checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportType {
    /// As they are kept; FP8 where they came as FP8.
    Stored,
    /// IEEE single.
    F32,
    /// The upper half of a single.
    Bf16,
    /// IEEE half.
    F16,
    /// E4M3 with block scales for the matrices that the released checkpoint quantises, BF16 for the others.
    Fp8,
}

/// How a checkpoint is exported.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Of weights.
    pub weights: ExportType,
    /// Largest file, in bytes; a tensor that is larger has one of its own.
    pub shard_bytes: u64,
    /// A folder whose tokenizer and other fields of config.json are taken over.
    pub like: Option<PathBuf>,
    /// The moving averages of the weights instead of the weights.
    pub ema: bool,
}

/// A checkpoint that holds a model of ours.
#[derive(Debug)]
pub struct Export {
    folder: PathBuf,
    checkpoint: Checkpoint,
    model: ModelConfig,
    options: ExportOptions,
    held: Vec<Held>,
    /// The text of a config.json whose other fields are taken over.
    kept: Option<String>,
}

impl Export {
    /// The network of an imported checkpoint that nothing has trained since; others have a spec instead.
    ///
    /// # Errors
    /// When what was kept of its config does not read.
    pub fn imported_model(folder: &Path, checkpoint: &Checkpoint) -> Result<Option<ModelConfig>, BridgeError> {
        let Some(origin) = &checkpoint.state().origin else { return Ok(None) };
        let bad = |problems| BridgeError::Config { path: folder.to_owned(), problems };
        let mut model = hugging_face::read(&origin.config).map_err(bad)?.model;
        model.mtp.depth = origin.mtp_depth;
        Ok(Some(model))
    }

    /// Looks whether all of the model is there; reads no tensor.
    ///
    /// # Errors
    /// Everything that is missing, not the model's, or has another shape.
    pub fn open(
        folder: &Path,
        checkpoint: Checkpoint,
        model: ModelConfig,
        options: ExportOptions,
    ) -> Result<Self, BridgeError> {
        let held = held(folder, &checkpoint, &model, checkpoint.weights(options.ema)?)?;
        let kept = match &options.like {
            Some(like) => Some(source::text(&like.join(CONFIG), CONFIG_LIMIT)?),
            None => checkpoint.state().origin.as_ref().map(|origin| origin.config.clone()),
        };
        let export = Self { folder: folder.to_owned(), checkpoint, model, options, held, kept };
        export.config()?;
        Ok(export)
    }

    /// Names and bytes of the files of weights that will be written.
    ///
    /// # Errors
    /// When a header would be too long.
    pub fn files(&self) -> Result<Vec<(String, u64)>, BridgeError> {
        Ok(self.plan()?.files.into_iter().map(|file| (file.name, file.length)).collect())
    }

    /// Writes the folder `target`, or goes on where an earlier run of the same was killed or stopped.
    ///
    /// # Errors
    /// When a tensor is damaged or cannot be what it should become, the disk refuses, or `progress` breaks. There is no
    /// `target` then.
    pub fn run(
        &self,
        target: &Path,
        limits: Limits,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(PathBuf, Report), BridgeError> {
        let plan = self.plan()?;
        let mut names: Vec<&str> = plan.files.iter().map(|file| file.name.as_str()).collect();
        names.extend(beside::NAMES);
        names.extend([CONFIG, INDEX]);
        let commit = |draft: &Draft, _: &[Note]| self.finish(draft, &plan.files);
        plan.run(target, limits, progress, commit, |name| names.contains(&name))
    }

    /// What stands beside the weights.
    fn finish(&self, draft: &Draft, files: &[FilePlan<'_>]) -> Result<(), BridgeError> {
        draft.write(CONFIG, &self.config()?)?;
        if files.len() > 1 {
            draft.write(INDEX, &index(files))?;
        }
        if let Some(text) = self.kept.as_deref().and_then(generation) {
            draft.write(beside::GENERATION, &text)?;
        }
        match &self.options.like {
            Some(like) => beside::found(like)?
                .iter()
                .try_for_each(|(name, path)| Ok(companions::copy(path, &draft.folder().join(name)).map(|_| ())?)),
            None => beside::give_out(&self.folder, self.checkpoint.state().companions(), draft.folder()),
        }
    }

    /// As it came, if it still says what the weights are.
    fn config(&self) -> Result<String, BridgeError> {
        if let (ExportType::Stored, None, Some(kept)) = (self.options.weights, &self.options.like, &self.kept)
            && hugging_face::read(kept).is_ok_and(|config| config.model == self.model)
        {
            return Ok(kept.clone());
        }
        let bad = |problems| BridgeError::Config { path: PathBuf::from(CONFIG), problems };
        hugging_face::write(&self.model, self.weight_type(), self.kept.as_deref()).map_err(bad)
    }

    fn weight_type(&self) -> WeightType {
        let mut elements = self.held.iter().map(|held| self.element(held));
        let first = elements.next();
        match first {
            _ if elements.any(|element| element == Element::F8) => WeightType::Fp8,
            Some(Element::Bf16) => WeightType::Bf16,
            Some(Element::F16) => WeightType::F16,
            _ => WeightType::F32,
        }
    }

    fn plan(&self) -> Result<Crossing<'_>, BridgeError> {
        let copies = match &self.checkpoint.state().origin {
            Some(origin) => shared_copies(&self.model)
                .into_iter()
                .filter(|copy| origin.shared_copies.contains(&copy.name))
                .collect(),
            None => shared_copies(&self.model),
        };
        let mut jobs: Vec<Job<'_>> = self.held.iter().map(|held| self.job(held, &held.record.name)).collect();
        for copy in &copies {
            let of = self.held.iter().find(|held| held.record.name == copy.of);
            jobs.push(self.job(of.expect("every model has an embedding and a head"), &copy.name));
        }
        let shards = cut(jobs, self.options.shard_bytes);
        let n_shards = shards.len();
        let name = |i: usize| match n_shards {
            1 => SINGLE.to_owned(),
            n => format!("model-{:05}-of-{n:05}.safetensors", i + 1),
        };
        // transformers only reads files that say what wrote them.
        let notes = || Some(HashMap::from([("format".to_owned(), "pt".to_owned())]));
        let file = |(i, jobs)| FilePlan::new(&self.folder, name(i), jobs, notes());
        let files = shards.into_iter().enumerate().map(file).collect::<Result<Vec<_>, _>>()?;
        Ok(Crossing { source: &self.folder, run: self.fingerprint(&files), comparisons: Vec::new(), files })
    }

    /// `key` is another name for a copy.
    fn job<'a>(&'a self, held: &'a Held, key: &str) -> Job<'a> {
        let tensor = |record| Tensor::Record { folder: &self.folder, checkpoint: &self.checkpoint, record };
        let (record, element) = (&held.record, self.element(held));
        let target = |key: String, kind, shape: &[u64], element| {
            let (name, shape) = (record.name.clone(), shape.to_vec());
            Target { key, name, kind, element, shape }
        };
        let mut targets = vec![target(key.to_owned(), record.kind, &record.shape, element)];
        let (from, kept) = (tensor(record), Element::from(record.dtype));
        let work = match element {
            Element::F8 => {
                let shape = scales_shape(&record.shape);
                targets.push(target(scale_name(key), RecordKind::Scale, &shape, Element::F32));
                Work::Encode { from, element: kept, scales: held.scales.as_ref().map(tensor) }
            }
            element if element == kept => Work::Copy(from),
            _ => Work::Convert { from, element: kept },
        };
        Job { work, targets }
    }

    /// What a tensor's elements will be.
    fn element(&self, held: &Held) -> Element {
        let stored = match held.record.dtype {
            // transformers has no models in doubles.
            Dtype::F64 => Element::F32,
            dtype => Element::from(dtype),
        };
        match self.options.weights {
            ExportType::F32 => Element::F32,
            _ if held.record.kind == RecordKind::Bias => stored,
            ExportType::Stored if held.scales.is_some() => Element::F8,
            ExportType::Stored => stored,
            ExportType::Bf16 => Element::Bf16,
            ExportType::F16 => Element::F16,
            ExportType::Fp8 if is_quantised(&held.record.name) => Element::F8,
            ExportType::Fp8 => Element::Bf16,
        }
    }

    /// The records have checksums of all that is read.
    fn fingerprint(&self, files: &[FilePlan<'_>]) -> String {
        let records = self.held.iter().flat_map(|held| std::iter::once(&held.record).chain(&held.scales));
        let checksums = records.flat_map(|record| &record.pieces).map(|piece| piece.checksum.as_bytes());
        fingerprint(
            [&b"export"[..]].into_iter().chain(files.iter().map(|file| file.header.as_slice())).chain(checksums),
        )
    }
}

/// `model.safetensors.index.json`.
fn index(files: &[FilePlan<'_>]) -> String {
    let total: u64 = files.iter().flat_map(|file| &file.tensors).map(|placed| placed.length).sum();
    let place = |file: &'_ FilePlan<'_>| {
        let name = file.name.clone();
        file.tensors
            .iter()
            .map(|placed| placed.target.key.clone())
            .map(move |key| (key, name.clone()))
            .collect::<Vec<_>>()
    };
    let map: BTreeMap<String, String> = files.iter().flat_map(place).collect();
    let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
    serde_json::to_string_pretty(&index).expect("JSON has a text") + "\n"
}

/// `generation_config.json`, of a config that says which tokens begin and end a text.
fn generation(config: &str) -> Option<String> {
    let config: Map<String, Value> = serde_json::from_str(config).ok()?;
    let names = ["bos_token_id", "eos_token_id", "pad_token_id"];
    let mut said: Map<String, Value> =
        names.iter().filter_map(|&name| Some((name.to_owned(), config.get(name)?.clone()))).collect();
    said.retain(|_, value| !value.is_null());
    if said.is_empty() {
        return None;
    }
    said.insert("_from_model_config".to_owned(), Value::Bool(true));
    Some(serde_json::to_string_pretty(&said).ok()? + "\n")
}
