//! What the model learns from.

use std::path::PathBuf;

use crate::spec::TokenizerSpec;
use crate::spec::field::{Field, Lens, field, lens, word};
use crate::spec::kind::Kind;
use crate::spec::value::{Slot, Value};

const BYTES: &str = "bytes";

impl Slot for TokenizerSpec {
    fn value(&self) -> Value {
        match self {
            Self::Bytes => Value::Text(BYTES.to_owned()),
            Self::File(path) => Value::Path(path.clone()),
        }
    }
    fn slot(value: Value) -> Option<Self> {
        match value {
            Value::Text(_) => Some(Self::Bytes),
            other => PathBuf::slot(other).map(Self::File),
        }
    }
}

const TOKENIZER: Lens = lens!(s, at => s.data.tokenizer);

pub(super) const FIELDS: &[Field] = &[
    field(
        "data.train",
        Kind::Path,
        lens!(s, at => s.data.train),
        "A folder of token shards, or text or JSONL (also .zst): a file, or a folder of them; relative to this file.",
    ),
    field("data.validation", Kind::Path, lens!(s, at => s.data.validation), "Likewise, held out; null for none.")
        .nullable()
        .default("null"),
    field(
        "data.tokenizer",
        Kind::WordOrPath(word(BYTES, "A token is a byte; 256 ends a document.")),
        TOKENIZER,
        "How text becomes tokens: bytes, or the path of a Hugging Face tokenizer.json.",
    )
    .default(BYTES),
];
