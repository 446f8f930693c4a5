//! Text that is shown while its tokens come: a token may be half a letter.

use crate::error::DataError;
use crate::vocabulary::Vocabulary;

/// Tokens before the first new one that are read with it: how a tokenizer spells a token depends on its neighbours.
const CONTEXT: usize = 8;
/// What stands for bytes that are no text, and for a letter whose last bytes have not come.
const BROKEN: char = '\u{FFFD}';

/// Text that is shown while its tokens come. All that it gives, put together, is what [`Vocabulary::decode`] makes of
/// all tokens, less what it makes of the prompt: a letter whose last bytes are missing is held back until they come, or
/// the end.
pub struct TextStream<'a> {
    vocabulary: &'a Vocabulary,
    /// What is read: the context, and tokens that were not shown.
    tokens: Vec<u32>,
    /// Of those, shown before.
    n_shown: usize,
}

impl<'a> TextStream<'a> {
    /// Behind a prompt.
    pub fn new(vocabulary: &'a Vocabulary, prompt: &[u32]) -> Self {
        let tokens = prompt[prompt.len().saturating_sub(CONTEXT)..].to_vec();
        Self { vocabulary, n_shown: tokens.len(), tokens }
    }

    /// What can be shown now that these tokens have come.
    ///
    /// # Errors
    /// When the tokenizer refuses.
    pub fn push(&mut self, tokens: &[u32]) -> Result<String, DataError> {
        let mut text = String::new();
        for &token in tokens {
            self.tokens.push(token);
            text += &self.show(false)?;
        }
        Ok(text)
    }

    /// What was held back.
    ///
    /// # Errors
    /// When the tokenizer refuses.
    pub fn finish(mut self) -> Result<String, DataError> {
        self.show(true)
    }

    fn show(&mut self, all: bool) -> Result<String, DataError> {
        let shown = self.vocabulary.decode(&self.tokens[..self.n_shown])?;
        let whole = self.vocabulary.decode(&self.tokens)?;
        if !all && (whole.ends_with(BROKEN) || !whole.starts_with(&shown)) {
            return Ok(String::new());
        }
        let new = whole[common(&shown, &whole)..].to_owned();
        self.tokens.drain(..self.n_shown.saturating_sub(CONTEXT));
        self.n_shown = self.tokens.len();
        Ok(new)
    }
}

/// Bytes of the letters that both begin with.
fn common(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(a, b)| a == b).map(|(letter, _)| letter.len_utf8()).sum()
}
