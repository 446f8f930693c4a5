//! Single texts to tokens and back, for prompts and what a model writes.

use std::path::PathBuf;

use crate::error::DataError;
use crate::tokenizer::{Loaded, TokenizerChoice};

/// A tokenizer for prompts. Unlike in training text, a special token that a text spells out is that token.
pub struct Vocabulary {
    loaded: Loaded,
    path: PathBuf,
}

impl Vocabulary {
    /// # Errors
    /// When a `tokenizer.json` cannot be read.
    pub fn open(choice: &TokenizerChoice) -> Result<Self, DataError> {
        let mut loaded = Loaded::new(choice)?;
        if let Loaded::Words { tokenizer, .. } = &mut loaded {
            tokenizer.set_encode_special_tokens(false);
        }
        let path = match choice {
            TokenizerChoice::Bytes => PathBuf::new(),
            TokenizerChoice::File(path) => path.clone(),
        };
        Ok(Self { loaded, path })
    }

    /// Tokens that the tokenizer knows.
    pub fn size(&self) -> u32 {
        match &self.loaded {
            Loaded::Bytes => 257,
            Loaded::Words { tokenizer, .. } => tokenizer.get_vocab_size(true) as u32,
        }
    }

    /// Every token is below it: numbers may have holes, and the token that ends a document may be beyond all others.
    pub fn n_ids(&self) -> u32 {
        self.loaded.layout().vocab_size
    }

    /// The token that ends a document.
    pub fn end(&self) -> u32 {
        self.loaded.layout().end_of_document
    }

    /// No token is added at either end.
    ///
    /// # Errors
    /// When the tokenizer refuses.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match &self.loaded {
            Loaded::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Loaded::Words { tokenizer, .. } => {
                let encoding = tokenizer.encode(text, false);
                Ok(encoding.map_err(|error| self.refused(error.to_string()))?.get_ids().to_vec())
            }
        }
    }

    /// Special tokens are spelled out. Bytes that are no text become U+FFFD.
    ///
    /// # Errors
    /// When the tokenizer refuses.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, DataError> {
        match &self.loaded {
            Loaded::Bytes => {
                let bytes: Vec<u8> = tokens.iter().filter_map(|&token| u8::try_from(token).ok()).collect();
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Loaded::Words { tokenizer, .. } => {
                tokenizer.decode(tokens, false).map_err(|error| self.refused(error.to_string()))
            }
        }
    }

    /// How the tokenizer spells one token; none beyond its vocabulary.
    pub fn token(&self, token: u32) -> Option<String> {
        match &self.loaded {
            Loaded::Bytes => u8::try_from(token).ok().map(|byte| char::from(byte).to_string()),
            Loaded::Words { tokenizer, .. } => tokenizer.id_to_token(token),
        }
    }

    fn refused(&self, reason: String) -> DataError {
        DataError::Tokenizer { path: self.path.clone(), reason }
    }
}
