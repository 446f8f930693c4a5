//! A rank's part of a checkpoint: it writes the logical tensors that the plan gives it and reads those that it holds,
//! so any layout can resume what any other has written.
//!
//! Protocol: rank 0 creates the draft; barrier; every rank writes its file; the parts are gathered; rank 0 commits;
//! everybody learns how that went.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ds_arch::{LayerId, gate_bias_name};
use ds_checkpoint::{Checkpoint, Draft, Dtype, Elements, Part, RecordKind, Shard, TrainState};
use ds_model::StageModel;
use ds_plan::Writes;
use tch::{Device, Kind, Tensor, no_grad};

use crate::comm::Group;
use crate::error::RankError;
use crate::step::{Ema, Optimizer, Slots, logical};

/// Where checkpoints of a run lie, and what this rank writes.
pub(super) struct Checkpoints {
    pub(super) folder: PathBuf,
    pub(super) keep: u32,
    /// Logical matrices that this rank writes, whatever experts live in them.
    pub(super) writes: Slots,
    /// Layers whose gate's bias it writes.
    biases: Vec<LayerId>,
}

impl Checkpoints {
    /// In `folder`, of which the newest `keep` stay; `writes` is this rank's part of `model`.
    pub(super) fn new(folder: PathBuf, keep: u32, writes: Writes, model: &StageModel) -> Self {
        let names: HashSet<String> = writes.parameters.into_iter().map(|p| p.name).collect();
        Self { folder, keep, writes: Slots::owned(model, |name| names.contains(name)), biases: writes.gate_biases }
    }

    /// Saves; every rank of `world` calls it at the same step. Returns the folder.
    pub(super) fn save(
        &self,
        model: &StageModel,
        optimizer: &Optimizer,
        ema: Option<&Ema>,
        state: &TrainState,
        world: &Group,
        deadline: Instant,
    ) -> Result<PathBuf, RankError> {
        let draft = agree(world, deadline, || {
            (world.index() == 0).then(|| Draft::create(&self.folder, state.step)).transpose()?;
            Ok(())
        })
        .and_then(|()| Ok(Draft::create(&self.folder, state.step)?))?;
        let mut part = None;
        agree(world, deadline, || {
            part = Some(self.write(&draft, world.index() as u32, self.tensors(model, optimizer, ema))?);
            Ok(())
        })?;
        let part = part.expect("written above").to_bytes();
        let parts = world.all_gather_bytes(&part).wait(deadline)?;
        let folder = draft.folder();
        agree(world, deadline, || {
            if world.index() == 0 {
                let parts = parts.iter().map(|bytes| Part::from_bytes(bytes)).collect::<Result<Vec<_>, _>>()?;
                draft.commit(parts, state)?;
                ds_checkpoint::prune(&self.folder, self.keep)?;
            }
            Ok(())
        })?;
        Ok(folder)
    }

    fn write(&self, draft: &Draft, writer: u32, tensors: Vec<Named>) -> Result<Part, RankError> {
        let shapes: Vec<Vec<u64>> =
            tensors.iter().map(|t| t.values.size().iter().map(|&d| d as u64).collect()).collect();
        let ranges: Vec<Vec<_>> = shapes.iter().map(|shape| shape.iter().map(|&d| 0..d).collect()).collect();
        let shards: Vec<Shard<'_>> = tensors
            .iter()
            .enumerate()
            .map(|(i, t)| Shard {
                name: &t.name,
                kind: t.kind,
                dtype: dtype(t.values.kind()),
                shape: &shapes[i],
                range: &ranges[i],
                bytes: t,
            })
            .collect();
        Ok(draft.write(writer, &shards)?)
    }

    fn tensors(&self, model: &StageModel, optimizer: &Optimizer, ema: Option<&Ema>) -> Vec<Named> {
        let mut named = Vec::new();
        let mut kinds = vec![
            (RecordKind::Weight, optimizer.masters()),
            (RecordKind::Moment1, optimizer.moments1()),
            (RecordKind::Moment2, optimizer.moments2()),
        ];
        kinds.extend(ema.map(|ema| (RecordKind::Ema, ema.averages())));
        for (name, slot) in logical(model).filter(|&(_, slot)| self.writes.contains(slot)) {
            for &(kind, tensors) in &kinds {
                let values = optimizer.slots().find(tensors, slot).expect("a rank owns what it writes").detach();
                named.push(Named { name: name.to_owned(), kind, values });
            }
        }
        for (layer, bias) in model.biases() {
            if self.biases.contains(&layer) {
                let name = gate_bias_name(layer);
                named.push(Named { name, kind: RecordKind::Bias, values: bias.shallow_clone() });
            }
        }
        named
    }
}

#[derive(Debug)]
struct Named {
    name: String,
    kind: RecordKind,
    values: Tensor,
}

impl Elements for Named {
    fn n_bytes(&self) -> u64 {
        (self.values.numel() * self.values.kind().elt_size_in_bytes()) as u64
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        let values = self.values.to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0; self.n_bytes() as usize];
        values.copy_data_u8(&mut bytes, values.numel());
        Cow::Owned(bytes)
    }
}

/// Loads what this rank holds. Weights and biases always; moments too unless the run starts afresh from the weights.
pub(super) fn load(
    checkpoint: &Checkpoint,
    model: &StageModel,
    optimizer: &mut Optimizer,
    moments: bool,
) -> Result<(), RankError> {
    for (name, slot) in logical(model) {
        // What is updated elsewhere has no master here.
        let master = optimizer.slots().find(optimizer.masters(), slot);
        read_into(checkpoint, name, RecordKind::Weight, &master.unwrap_or_else(|| slot.weight(model)))?;
    }
    if moments {
        read_owned(checkpoint, model, optimizer, (RecordKind::Moment1, optimizer.moments1()))?;
        read_owned(checkpoint, model, optimizer, (RecordKind::Moment2, optimizer.moments2()))?;
    }
    for (layer, bias) in model.biases() {
        read_into(checkpoint, &gate_bias_name(layer), RecordKind::Bias, &bias)?;
    }
    let n_updates = if moments { checkpoint.state().step } else { 0 };
    optimizer.restored(model, n_updates);
    Ok(())
}

/// Loads the averages that a run has kept; true if it has kept any.
pub(super) fn load_ema(
    checkpoint: &Checkpoint,
    model: &StageModel,
    optimizer: &Optimizer,
    ema: &Ema,
) -> Result<bool, RankError> {
    if !checkpoint.records().iter().any(|record| record.kind == RecordKind::Ema) {
        return Ok(false);
    }
    read_owned(checkpoint, model, optimizer, (RecordKind::Ema, ema.averages()))?;
    Ok(true)
}

/// Reads what the optimizer updates of one kind into `tensors`, which are aligned with its slots.
fn read_owned(
    checkpoint: &Checkpoint,
    model: &StageModel,
    optimizer: &Optimizer,
    (kind, tensors): (RecordKind, &[Tensor]),
) -> Result<(), RankError> {
    for (name, slot) in logical(model) {
        if let Some(target) = optimizer.slots().find(tensors, slot) {
            read_into(checkpoint, name, kind, &target.detach())?;
        }
    }
    Ok(())
}

/// Reads a whole tensor into another of its shape, whatever the number formats of both are.
pub(crate) fn read_into(
    checkpoint: &Checkpoint,
    name: &str,
    kind: RecordKind,
    target: &Tensor,
) -> Result<(), RankError> {
    let shape: Vec<u64> = target.size().iter().map(|&d| d as u64).collect();
    let (stored, bytes) = checkpoint.read_whole(name, kind, &shape)?;
    let values = Tensor::from_data_size(&bytes, &target.size(), tensor_kind(stored));
    no_grad(|| target.shallow_clone().copy_(&values));
    Ok(())
}

/// Runs `work` on every rank and fails everywhere if it failed anywhere, so that nobody waits for a rank that gave up.
fn agree(world: &Group, deadline: Instant, work: impl FnOnce() -> Result<(), RankError>) -> Result<(), RankError> {
    let outcome = work();
    let message = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let messages = world.all_gather_bytes(message.as_bytes()).wait(deadline)?;
    outcome?;
    match messages.iter().position(|message| !message.is_empty()) {
        Some(rank) => Err(RankError::PeerCouldNotSave {
            rank: rank as u32,
            reason: String::from_utf8_lossy(&messages[rank]).into_owned(),
        }),
        None => Ok(()),
    }
}

fn dtype(kind: Kind) -> Dtype {
    match kind {
        Kind::Double => Dtype::F64,
        Kind::Float => Dtype::F32,
        Kind::BFloat16 => Dtype::BF16,
        other => unreachable!("masters and biases are FP32 or FP64, moments also BF16, not {other:?}"),
    }
}

fn tensor_kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F16 => Kind::Half,
    }
}

/// The newest whole checkpoint of `folder`, as rank 0 sees it; every rank opens the same.
pub(super) fn newest(folder: &Path, world: &Group, deadline: Instant) -> Result<Option<Checkpoint>, RankError> {
    let mut found = Vec::new();
    agree(world, deadline, || {
        if world.index() == 0 && folder.is_dir() {
            let newest = ds_checkpoint::newest_whole(folder)?;
            for broken in &newest.broken {
                tracing::warn!("checkpoint passed over: {broken}");
            }
            if let Some(path) = newest.path {
                found = path.to_string_lossy().into_owned().into_bytes();
            }
        }
        Ok(())
    })?;
    let chosen = world.all_gather_bytes(&found).wait(deadline)?;
    let chosen = String::from_utf8_lossy(&chosen[0]).into_owned();
    if chosen.is_empty() { Ok(None) } else { Ok(Some(Checkpoint::open(Path::new(&chosen))?)) }
}
