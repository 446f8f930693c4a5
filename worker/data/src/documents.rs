//! Reads the documents of a file as a stream: never more than a line of JSONL is in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use serde::Deserialize;

use crate::error::{DataError, reading};
use crate::source::{SourceFile, TextKind};

/// Read at once.
const BLOCK: usize = 256 << 10;
/// The longest line of JSONL that we hold in memory.
const LINE_MAX: usize = 256 << 20;

/// Takes documents piece by piece.
pub(crate) trait Sink {
    /// More text of the document; a piece may end inside a character.
    fn text(&mut self, piece: &[u8]) -> Result<(), DataError>;
    /// The document is over.
    fn end_document(&mut self) -> Result<(), DataError>;
}

/// Sends all documents of a file to `sink`, but for those without text. `on_bytes` hears of bytes read from disk.
pub(crate) fn read(file: &SourceFile, sink: &mut dyn Sink, on_bytes: &mut dyn FnMut(u64)) -> Result<(), DataError> {
    let open = File::open(&file.path).map_err(reading(&file.path))?;
    let counted = BufReader::with_capacity(BLOCK, Counted { file: open, on_bytes });
    if file.zstd {
        let unpacked = zstd::stream::read::Decoder::with_buffer(counted).map_err(reading(&file.path))?;
        documents(file, &mut BufReader::with_capacity(BLOCK, unpacked), sink)
    } else {
        documents(file, &mut { counted }, sink)
    }
}

fn documents(file: &SourceFile, reader: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<(), DataError> {
    match file.text {
        TextKind::Plain => plain(file, reader, sink),
        TextKind::JsonLines => json_lines(file, reader, sink, LINE_MAX),
    }
}

fn plain(file: &SourceFile, reader: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<(), DataError> {
    let mut any = false;
    loop {
        let piece = reader.fill_buf().map_err(reading(&file.path))?;
        if piece.is_empty() {
            return if any { sink.end_document() } else { Ok(()) };
        }
        any = true;
        sink.text(piece)?;
        let n = piece.len();
        reader.consume(n);
    }
}

/// What we read of a line; other fields are passed over.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

fn json_lines(file: &SourceFile, reader: &mut dyn BufRead, sink: &mut dyn Sink, limit: usize) -> Result<(), DataError> {
    let mut json = Vec::new();
    for line in 1.. {
        json.clear();
        let n = reader.take(limit as u64 + 1).read_until(b'\n', &mut json).map_err(reading(&file.path))?;
        if n == 0 {
            break;
        }
        if n > limit {
            return Err(DataError::LineTooLong { path: file.path.clone(), line, limit });
        }
        let json = json.trim_ascii();
        if json.is_empty() {
            continue;
        }
        let text = text_of(json).map_err(|reason| DataError::Line { path: file.path.clone(), line, reason })?;
        if !text.is_empty() {
            sink.text(text.as_bytes())?;
            sink.end_document()?;
        }
    }
    Ok(())
}

fn text_of(json: &[u8]) -> Result<Cow<'_, str>, String> {
    if json.first() != Some(&b'{') {
        return Err("it is no object".to_owned());
    }
    let line: Line<'_> =
        serde_json::from_slice(json).map_err(|error| error.to_string().replace(" at line 1 column", " at column"))?;
    Ok(line.text)
}

/// Tells how much was read.
struct Counted<'a> {
    file: File,
    on_bytes: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(into)?;
        (self.on_bytes)(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[derive(Default)]
    struct Seen(Vec<String>, String);

    impl Sink for Seen {
        fn text(&mut self, piece: &[u8]) -> Result<(), DataError> {
            self.1 += std::str::from_utf8(piece).unwrap();
            Ok(())
        }

        fn end_document(&mut self) -> Result<(), DataError> {
            self.0.push(std::mem::take(&mut self.1));
            Ok(())
        }
    }

    fn lines(text: &str, limit: usize) -> Result<Vec<String>, String> {
        let path = PathBuf::from("news.jsonl");
        let name = path.clone();
        let file = SourceFile { path, name, size: 1, modified: 0, text: TextKind::JsonLines, zstd: false };
        let mut seen = Seen::default();
        json_lines(&file, &mut text.as_bytes(), &mut seen, limit).map_err(|error| error.to_string())?;
        Ok(seen.0)
    }

    #[test]
    fn lines_become_documents() {
        let text =
            "{\"id\": 1, \"text\": \"a\\nb\"}\r\n\n  {\"text\": \"\\u00e9\"}\n{\"text\": \"\"}\n{\"text\": \"last\"}";
        assert_eq!(lines(text, 100).unwrap(), ["a\nb", "é", "last"]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (second, reason) in [
            ("{\"body\": \"x\"}", "missing field `text`"),
            ("{\"text\": 3}", "invalid type"),
            ("[\"x\"]", "no object"),
            ("{\"text\": \"x", "EOF"),
            ("{\"text\": \"a text that is too long for a line of ours\"}", "longer than 40 bytes"),
        ] {
            let said = lines(&format!("{{\"text\": \"fine\"}}\n{second}"), 40).unwrap_err();
            assert!(said.starts_with("news.jsonl line 2") && said.contains(reason), "{said}");
        }
    }
}
