//! One shard of a folder of tokens, memory-mapped.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{DataError, reading};
use crate::manifest::{FileEntry, LONG, Layout, Lengths, MARK_EVERY, ShardEntry, Width, shard_file};

/// Its files, whose sizes are what the manifest says.
#[derive(Debug)]
pub(crate) struct Shard {
    layout: Layout,
    n_tokens: u64,
    n_bytes: u64,
    tokens: Mmap,
    marks: Mmap,
    lengths: Option<Mmap>,
    long: Vec<(u64, u64)>,
}

impl Shard {
    pub(crate) fn open(folder: &Path, index: usize, entry: &ShardEntry, layout: Layout) -> Result<Self, DataError> {
        let open = |kind, file: &FileEntry| map(&shard_file(folder, index, kind), file.size);
        Ok(Self {
            layout,
            n_tokens: entry.n_tokens,
            n_bytes: entry.n_bytes,
            tokens: open("tokens", &entry.tokens)?,
            marks: open("marks", &entry.marks)?,
            lengths: entry.lengths.as_ref().map(|file| open("lengths", file)).transpose()?,
            long: entry.long.clone(),
        })
    }

    /// Appends the tokens of a range.
    pub(crate) fn read(&self, range: Range<u64>, into: &mut Vec<u32>) {
        let width = self.layout.width.bytes();
        let bytes = &self.tokens[(range.start * width) as usize..(range.end * width) as usize];
        match self.layout.width {
            Width::U16 => into.extend(bytes.chunks_exact(2).map(|two| u32::from(u16::from_le_bytes([two[0], two[1]])))),
            Width::U32 => {
                into.extend(bytes.chunks_exact(4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]])));
            }
        }
    }

    /// Bytes of text before a token of the shard, or before its end.
    pub(crate) fn bytes_before(&self, token: u64) -> u64 {
        if token >= self.n_tokens {
            return self.n_bytes;
        }
        let mark = token / MARK_EVERY;
        let at = mark as usize * 8;
        let before = u64::from_le_bytes(self.marks[at..at + 8].try_into().expect("eight bytes are eight"));
        before.saturating_add(self.bytes_in(mark * MARK_EVERY..token))
    }

    fn bytes_in(&self, range: Range<u64>) -> u64 {
        match (self.layout.lengths, &self.lengths) {
            (Lengths::Listed, Some(lengths)) => {
                let listed = &lengths[range.start as usize..range.end as usize];
                listed.iter().zip(range).map(|(&length, place)| self.length(length, place)).sum()
            }
            _ => {
                let mut tokens = Vec::with_capacity(MARK_EVERY as usize);
                self.read(range, &mut tokens);
                tokens.iter().filter(|&&token| token < 256).count() as u64
            }
        }
    }

    fn length(&self, length: u8, place: u64) -> u64 {
        if length != LONG {
            return u64::from(length);
        }
        let found = self.long.binary_search_by_key(&place, |&(place, _)| place);
        found.map_or(u64::from(LONG), |i| self.long[i].1)
    }
}

fn map(path: &Path, expected: u64) -> Result<Mmap, DataError> {
    let file = File::open(path).map_err(reading(path))?;
    let found = file.metadata().map_err(reading(path))?.len();
    if found != expected {
        return Err(DataError::Size { path: path.to_owned(), found, expected });
    }
    #[expect(unsafe_code, reason = "a mapping is sound while nobody cuts the file short; ours are never written again")]
    // SAFETY: the file's length was just compared with the manifest's, and a folder of tokens is only ever renamed as a
    // whole or removed as a whole, which leaves a mapping as it is.
    unsafe { Mmap::map(&file) }.map_err(reading(path))
}
