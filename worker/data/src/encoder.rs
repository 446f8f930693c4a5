//! From text to tokens and the bytes of text that each stands for.

use std::path::Path;

use tokenizers::Tokenizer;

use crate::documents::Sink;
use crate::error::DataError;
use crate::tokenizer::Loaded;
use crate::writer::Writer;

/// A document longer than this is encoded in pieces, so that memory stays bounded.
const PIECE: usize = 64 << 10;
/// A line longer than this is cut at a blank, or anywhere.
const PIECE_MAX: usize = 1 << 20;
/// Pieces of so much text are encoded at once, by all cores.
const BATCH: usize = 1 << 20;

/// Encodes the documents of one file into a writer.
pub(crate) enum Encoder<'a> {
    Bytes(&'a mut Writer),
    Words(Words<'a>),
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(tokenizer: &'a Loaded, path: &'a Path, writer: &'a mut Writer) -> Self {
        match tokenizer {
            Loaded::Bytes => Self::Bytes(writer),
            Loaded::Words { tokenizer, .. } => Self::Words(Words {
                tokenizer,
                path,
                writer,
                n_read: 0,
                pending: Vec::new(),
                batch: Vec::new(),
                batch_bytes: 0,
                uncounted: 0,
            }),
        }
    }

    /// The file is over.
    pub(crate) fn finish(self) -> Result<(), DataError> {
        match self {
            Self::Bytes(_) => Ok(()),
            Self::Words(mut words) => words.encode_batch(),
        }
    }
}

impl Sink for Encoder<'_> {
    fn text(&mut self, piece: &[u8]) -> Result<(), DataError> {
        match self {
            Self::Bytes(writer) => piece.iter().try_for_each(|&byte| writer.push(u32::from(byte), 1)),
            Self::Words(words) => words.text(piece),
        }
    }

    fn end_document(&mut self) -> Result<(), DataError> {
        match self {
            Self::Bytes(writer) => writer.end_document(0),
            Self::Words(words) => words.end_document(),
        }
    }
}

/// Encodes with a tokenizer of Hugging Face. Long documents are cut into pieces before a line that begins with text,
/// where no tokenizer that splits at lines can tell.
pub(crate) struct Words<'a> {
    tokenizer: &'a Tokenizer,
    path: &'a Path,
    writer: &'a mut Writer,
    /// Bytes of the file before `pending`.
    n_read: u64,
    pending: Vec<u8>,
    batch: Vec<Part>,
    batch_bytes: usize,
    /// Bytes of text after the last token; they count with the next.
    uncounted: u64,
}

enum Part {
    Text(String),
    End,
}

impl Words<'_> {
    fn text(&mut self, piece: &[u8]) -> Result<(), DataError> {
        self.pending.extend_from_slice(piece);
        while self.pending.len() > PIECE {
            let valid = self.valid()?;
            let Some(cut) = cut(&self.pending[..valid]) else { break };
            self.take(cut)?;
        }
        Ok(())
    }

    fn end_document(&mut self) -> Result<(), DataError> {
        let valid = self.valid()?;
        if valid < self.pending.len() {
            return Err(self.not_utf8(valid));
        }
        self.take(valid)?;
        self.batch.push(Part::End);
        Ok(())
    }

    /// How much of `pending` is whole characters; at most one is not yet whole.
    fn valid(&self) -> Result<usize, DataError> {
        match std::str::from_utf8(&self.pending) {
            Ok(text) => Ok(text.len()),
            Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
            Err(error) => Err(self.not_utf8(error.valid_up_to())),
        }
    }

    fn not_utf8(&self, at: usize) -> DataError {
        DataError::NotUtf8 { path: self.path.to_owned(), at: self.n_read + at as u64 }
    }

    fn take(&mut self, n: usize) -> Result<(), DataError> {
        let rest = self.pending.split_off(n);
        let text = String::from_utf8(std::mem::replace(&mut self.pending, rest)).expect("cuts lie between characters");
        self.n_read += n as u64;
        self.batch_bytes += n;
        self.batch.push(Part::Text(text));
        if self.batch_bytes >= BATCH { self.encode_batch() } else { Ok(()) }
    }

    fn encode_batch(&mut self) -> Result<(), DataError> {
        let parts = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let texts: Vec<&str> = parts.iter().filter_map(Part::text).collect();
        let encoded = self.tokenizer.encode_batch(texts, false);
        let encoded =
            encoded.map_err(|error| DataError::Encode { path: self.path.to_owned(), reason: error.to_string() })?;
        let mut encoded = encoded.into_iter();
        for part in &parts {
            match part {
                Part::End => self.writer.end_document(std::mem::take(&mut self.uncounted))?,
                Part::Text(text) => {
                    let encoding = encoded.next().expect("every text has an encoding");
                    self.write(text.len(), encoding.get_ids(), encoding.get_offsets())?;
                }
            }
        }
        Ok(())
    }

    /// A token stands for the text from where the one before it ended.
    fn write(&mut self, text_len: usize, ids: &[u32], offsets: &[(usize, usize)]) -> Result<(), DataError> {
        let mut counted = 0;
        for (&id, &(_, stop)) in ids.iter().zip(offsets) {
            let stop = stop.clamp(counted, text_len);
            let n_bytes = std::mem::take(&mut self.uncounted) + (stop - counted) as u64;
            self.writer.push(id, n_bytes)?;
            counted = stop;
        }
        self.uncounted += (text_len - counted) as u64;
        Ok(())
    }
}

impl Part {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::End => None,
        }
    }
}

/// Where to cut text that goes on: before the last line that begins with text; else after the last line; else, when it
/// is long, before the last blank, or at its end. None to wait for more.
fn cut(text: &[u8]) -> Option<usize> {
    let line = |pair: &[u8]| pair[0] == b'\n' && !pair[1].is_ascii_whitespace();
    let at = text.windows(2).rposition(line).or_else(|| text.iter().rposition(|&byte| byte == b'\n')).map(|at| at + 1);
    if at.is_some() || text.len() < PIECE_MAX {
        return at;
    }
    let blank = text.iter().rposition(|&byte| byte == b' ').filter(|&at| at > 0);
    Some(blank.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_where_a_tokenizer_cannot_tell() {
        assert_eq!(cut(b"one\ntwo\n\n three"), Some(4));
        assert_eq!(cut(b"one\n two\n three"), Some(9));
        assert_eq!(cut(b"no line yet"), None);
        let mut long = vec![b'x'; PIECE_MAX];
        assert_eq!(cut(&long), Some(PIECE_MAX));
        long[10] = b' ';
        assert_eq!(cut(&long), Some(10));
    }
}
