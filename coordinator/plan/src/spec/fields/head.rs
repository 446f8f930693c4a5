//! What heads every spec.

use crate::spec::field::{Field, Lens, field, lens, whole, word};
use crate::spec::kind::{Kind, Word};
use crate::spec::value::Value;

/// The version of the format that this program writes, and the newest that it reads.
pub(in crate::spec) const VERSION: i128 = 1;
/// The kind of a training job.
const KIND: &str = "train";
/// Every kind of job that there is.
pub(in crate::spec) const KINDS: &[Word] = &[word(KIND, "Train a model.")];

const VERSION_LENS: Lens = Lens { get: |_, _| Value::Whole(VERSION), set: |_, _, _| () };
const KIND_LENS: Lens = Lens { get: |_, _| Value::Text(KIND.to_owned()), set: |_, _, _| () };

pub(super) const FIELDS: &[Field] = &[
    field("version", whole(1, VERSION), VERSION_LENS, "Version of this format."),
    field("kind", Kind::Word(KINDS), KIND_LENS, "What the job does."),
    field("name", Kind::Text, lens!(s, at => s.name), "What people call the job."),
    field(
        "seed",
        whole(0, u64::MAX as i128),
        lens!(s, at => s.seed),
        "Of the initial weights and of the order of samples.",
    )
    .default("1"),
];
