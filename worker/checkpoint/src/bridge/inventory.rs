//! What a model has, against what a folder holds.

use std::collections::HashMap;

use ds_arch::e4m3::{BLOCK, n_blocks};
use ds_arch::hugging_face::{SharedCopy, is_derived, scale_name, shared_copies};
use ds_arch::{ModelConfig, gate_bias_name, parameters};

use super::element::Element;
use super::error::BridgeError;
use super::problem::TensorProblem;
use super::source::{Source, SourceTensor};
use crate::record::RecordKind;

const WEIGHTS: &str = "F32, BF16, F16 and F8_E4M3 are read";
const BIASES: &str = "F32, BF16 and F16 are read";
const SCALES: &str = "scales are F32";

/// Every tensor of a model: name, what it is, shape; in the model's order.
pub(super) fn logical(model: &ModelConfig) -> Vec<(String, RecordKind, Vec<u64>)> {
    let mut all: Vec<_> = parameters(model)
        .into_iter()
        .map(|p| (p.name, RecordKind::Weight, p.shape.iter().map(|&size| u64::from(size)).collect()))
        .collect();
    let bias = |layer| (gate_bias_name(layer), RecordKind::Bias, vec![u64::from(model.moe.n_experts)]);
    all.extend(model.moe_layers().map(bias));
    all
}

/// The shape of a matrix's block scales.
pub(super) fn scales_shape(shape: &[u64]) -> Vec<u64> {
    shape.iter().map(|&size| n_blocks(size as usize) as u64).collect()
}

/// The tensors of a folder, each in its place.
#[derive(Debug)]
pub(super) struct Inventory {
    /// As the files have it: a folder may lack the MTP modules that its config promises.
    pub(super) model: ModelConfig,
    pub(super) items: Vec<Item>,
    /// Of embedding and head, which must be equal.
    pub(super) copies: Vec<(SharedCopy, SourceTensor)>,
    /// Tensors that follow from the config and are left out.
    pub(super) n_derived: usize,
}

/// One parameter or bias.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) kind: RecordKind,
    pub(super) element: Element,
    pub(super) tensor: SourceTensor,
    /// Of codes.
    pub(super) scales: Option<SourceTensor>,
}

impl Inventory {
    /// All that the config names and nothing else, or everything that is wrong.
    pub(super) fn of(source: &Source) -> Result<Self, BridgeError> {
        let mut model = source.config.model.clone();
        let mtp: Vec<String> = (0..model.mtp.depth).map(|k| format!("model.layers.{}.", model.n_layers + k)).collect();
        if !source.tensors.keys().any(|name| mtp.iter().any(|prefix| name.starts_with(prefix))) {
            model.mtp.depth = 0;
        }
        let mut rest = Rest { tensors: source.tensors.clone(), problems: Vec::new() };
        let items =
            logical(&model).into_iter().filter_map(|(name, kind, shape)| rest.item(name, kind, &shape)).collect();
        let copies = shared_copies(&model).into_iter().filter_map(|copy| rest.copy(copy, source)).collect();
        let n_derived = rest.tensors.keys().filter(|name| is_derived(name)).count();
        let mut strangers: Vec<String> = rest.tensors.into_keys().filter(|name| !is_derived(name)).collect();
        strangers.sort_unstable();
        let mut problems = rest.problems;
        problems.extend(strangers.into_iter().map(|name| TensorProblem::Unexpected { name }));
        if problems.is_empty() {
            return Ok(Self { model, items, copies, n_derived });
        }
        Err(BridgeError::Tensors { folder: source.folder.clone(), problems })
    }
}

/// Tensors that nobody has asked for yet.
struct Rest {
    tensors: HashMap<String, SourceTensor>,
    problems: Vec<TensorProblem>,
}

impl Rest {
    fn item(&mut self, name: String, kind: RecordKind, shape: &[u64]) -> Option<Item> {
        let tensor = self.take(&name, shape)?;
        let known = if kind == RecordKind::Bias { BIASES } else { WEIGHTS };
        let element = Element::named(&tensor.dtype).filter(|element| *element != Element::F8 || known == WEIGHTS);
        let Some(element) = element else {
            self.problems.push(TensorProblem::Type { name, found: tensor.dtype, known });
            return None;
        };
        let scales = if element == Element::F8 { Some(self.scales(&name, shape)?) } else { None };
        Some(Item { name, kind, element, tensor, scales })
    }

    fn scales(&mut self, name: &str, shape: &[u64]) -> Option<SourceTensor> {
        let scales = scale_name(name);
        if shape.len() != 2 || !self.tensors.contains_key(&scales) {
            self.problems.push(TensorProblem::NoScales { name: name.to_owned(), scales });
            return None;
        }
        let tensor = self.take(&scales, &scales_shape(shape))?;
        if tensor.dtype != "F32" {
            self.problems.push(TensorProblem::Type { name: scales, found: tensor.dtype, known: SCALES });
            return None;
        }
        Some(tensor)
    }

    fn copy(&mut self, copy: SharedCopy, source: &Source) -> Option<(SharedCopy, SourceTensor)> {
        self.tensors.get(&copy.name)?;
        // If the model's own is missing, that was said.
        let of = source.tensors.get(copy.of)?;
        let tensor = self.take(&copy.name, &of.shape)?;
        if tensor.dtype != of.dtype {
            let known = "it must repeat the model's own";
            self.problems.push(TensorProblem::Type { name: copy.name, found: tensor.dtype, known });
            return None;
        }
        Some((copy, tensor))
    }

    fn take(&mut self, name: &str, shape: &[u64]) -> Option<SourceTensor> {
        let Some(tensor) = self.tensors.remove(name) else {
            self.problems.push(TensorProblem::Missing { name: name.to_owned(), shape: shape.to_vec() });
            return None;
        };
        if tensor.shape == shape {
            return Some(tensor);
        }
        let (found, expected) = (tensor.shape, shape.to_vec());
        self.problems.push(TensorProblem::Shape { name: name.to_owned(), found, expected });
        None
    }
}

/// Rows of a matrix that are worked on at once when it is FP8.
pub(super) const BAND: usize = BLOCK;
