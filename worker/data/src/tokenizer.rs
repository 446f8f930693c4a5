//! Which tokenizer, and what its tokens are.

use std::fs;
use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;

use crate::error::{DataError, reading};
use crate::manifest::{Layout, Lengths};

/// Names of tokens that end a document, in the order in which we look for them.
const END_NAMES: [&str; 10] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end_of_sentence|>",
    "<｜end▁of▁sentence｜>",
    "</s>",
    "<eos>",
    "<|eos|>",
    "[EOS]",
    "<|im_end|>",
    "[SEP]",
];

/// Which tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerChoice {
    /// A token is a byte; 256 ends a document, so the vocabulary has 257.
    Bytes,
    /// A `tokenizer.json` of Hugging Face. Its own end-of-text token ends a document; where it has none, one token past
    /// its vocabulary does.
    File(PathBuf),
}

/// A tokenizer that is ready.
pub(crate) enum Loaded {
    Bytes,
    Words { tokenizer: Box<Tokenizer>, hash: blake3::Hash, layout: Layout },
}

impl Loaded {
    pub(crate) fn new(choice: &TokenizerChoice) -> Result<Self, DataError> {
        match choice {
            TokenizerChoice::Bytes => Ok(Self::Bytes),
            TokenizerChoice::File(path) => words(path),
        }
    }

    /// Two tokenizers of one name make the same tokens.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Bytes => "bytes".to_owned(),
            Self::Words { hash, .. } => hash.to_string(),
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        match self {
            Self::Bytes => Layout::new(257, 256, Lengths::BelowByte),
            Self::Words { layout, .. } => *layout,
        }
    }
}

fn words(path: &Path) -> Result<Loaded, DataError> {
    let refused = |reason: String| DataError::Tokenizer { path: path.to_owned(), reason };
    let json = fs::read(path).map_err(reading(path))?;
    let mut tokenizer = Tokenizer::from_bytes(&json).map_err(|error| refused(error.to_string()))?;
    tokenizer.with_truncation(None).map_err(|error| refused(error.to_string()))?;
    tokenizer.with_padding(None);
    // Text that spells out `</s>` does not end its document.
    tokenizer.set_encode_special_tokens(true);
    // Numbers may have holes, so the greatest counts.
    let last = tokenizer.get_vocab(true).into_values().max().ok_or_else(|| refused("it knows no token".to_owned()))?;
    let own = END_NAMES.iter().find_map(|name| tokenizer.token_to_id(name));
    let n_words =
        last.checked_add(1).filter(|&n| n < u32::MAX).ok_or_else(|| refused(format!("token {last} is too great")))?;
    let (vocab_size, end) = own.map_or((n_words + 1, n_words), |end| (n_words, end));
    let layout = Layout::new(vocab_size, end, Lengths::Listed);
    Ok(Loaded::Words { tokenizer: Box::new(tokenizer), hash: blake3::hash(&json), layout })
}
