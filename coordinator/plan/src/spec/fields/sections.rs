//! The sections that fields stand in.

use super::fields;
use crate::spec::field::{At, PHASES, PIECES};
use crate::spec::{AdamWSpec, JobSpec, LearningRatePiece, LearningRateShape, LearningRateSpec, PhaseSpec};

/// A section, or a list of them.
pub(in crate::spec) struct Section {
    /// Without `[]` at its end; empty for the whole file.
    pub(in crate::spec) path: &'static str,
    pub(in crate::spec) doc: &'static str,
    /// None for a section that stands once.
    pub(in crate::spec) list: Option<List>,
}

/// How a list of a spec grows.
pub(in crate::spec) struct List {
    pub(in crate::spec) least: usize,
    pub(in crate::spec) most: usize,
    pub(in crate::spec) len: fn(&JobSpec, At) -> usize,
    pub(in crate::spec) resize: fn(&mut JobSpec, At, usize),
}

const fn once(path: &'static str, doc: &'static str) -> Section {
    Section { path, doc, list: None }
}

const SECTIONS: &[Section] = &[
    once("", "A job of dsctl."),
    once("model", "The network: a preset by name, numbers of its own, or a preset with other numbers."),
    once("model.attention", "Multi-head latent attention."),
    once("model.attention.yarn", "Longer sequences by slower rotation (arXiv 2309.00071)."),
    once("model.moe", "The mixture of experts."),
    once("model.mtp", "Multi-token prediction."),
    once("data", "What the model learns from."),
    once("parallel", "How ranks divide the work; ranks = pipeline x data x context x tensor."),
    Section {
        path: PHASES,
        doc: "What happens in which order; one phase for now.",
        list: Some(List {
            least: 1,
            most: 1,
            len: |spec, _| spec.train.len(),
            resize: |spec, _, n| spec.train.resize_with(n, phase),
        }),
    },
    once("train[].learning_rate", "Linear warm-up to the peak, then pieces; the last one goes on."),
    Section {
        path: PIECES,
        doc: "What follows the warm-up, in order; without any, the peak stays.",
        list: Some(List {
            least: 0,
            most: 1000,
            len: |spec, at| spec.train[at.phase].learning_rate.pieces.len(),
            resize: |spec, at, n| spec.train[at.phase].learning_rate.pieces.resize(n, PIECE),
        }),
    },
    once("train[].optimizer", "AdamW with decoupled weight decay (arXiv 1711.05101)."),
    once("precision", "Number formats."),
    once("balance", "How experts are kept equally loaded."),
    once("checkpoint", "What is kept of a run."),
    once("cluster", "Where and how the ranks run."),
];

/// The section of that path, with or without `[]` at its end.
pub(in crate::spec) fn section(path: &str) -> Option<&'static Section> {
    let path = path.strip_suffix("[]").unwrap_or(path);
    SECTIONS.iter().find(|section| section.path == path)
}

/// Every field, then every section.
pub(in crate::spec) fn everything() -> impl Iterator<Item = Child> {
    fields().map(Child::Field).chain(SECTIONS.iter().map(Child::Section))
}

/// What stands in a section.
#[derive(Clone, Copy)]
pub(in crate::spec) enum Child {
    Field(&'static super::Field),
    Section(&'static Section),
}

impl Child {
    /// Where it stands, with `[]` after a list.
    pub(in crate::spec) fn whole_path(self) -> &'static str {
        match self {
            Self::Field(field) => field.path,
            Self::Section(section) => section.path,
        }
    }

    /// Its own key.
    pub(in crate::spec) fn key(self) -> &'static str {
        self.whole_path().rsplit_once('.').map_or(self.whole_path(), |(_, key)| key)
    }

    /// Where it stands.
    pub(in crate::spec) fn path(self, at: At) -> String {
        at.path(self.whole_path())
    }
}

impl Section {
    /// Where its keys stand: itself, or an item of the list.
    pub(in crate::spec) fn within(&self) -> String {
        if self.list.is_some() { format!("{}[]", self.path) } else { self.path.to_owned() }
    }

    /// The path of a key in it.
    pub(in crate::spec) fn below(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.within()) }
    }

    /// What stands in it, fields first.
    pub(in crate::spec) fn children(&self) -> Vec<Child> {
        everything().filter(|child| self.is_around(*child)).collect()
    }

    fn is_around(&self, child: Child) -> bool {
        let (around, key) = child.whole_path().rsplit_once('.').unwrap_or(("", child.whole_path()));
        around == self.within() && !key.is_empty()
    }
}

const PIECE: LearningRatePiece = LearningRatePiece { shape: LearningRateShape::Constant, steps: 0 };

fn phase() -> PhaseSpec {
    PhaseSpec {
        steps: 0,
        sequence: 0,
        batch: 0,
        microbatch: 0,
        learning_rate: LearningRateSpec { peak: 0.0, warmup: 0, pieces: Vec::new() },
        optimizer: AdamWSpec { beta1: 0.0, beta2: 0.0, eps: 0.0, weight_decay: 0.0 },
        clip: None,
        mtp_weight: 0.0,
        evaluate_every: 0,
        trace_every: 0,
        evaluate_bytes: None,
        ema: false,
        ema_decay: 0.0,
    }
}
