//! Where bytes come from: a tensor of a file or of a checkpoint, from its first byte to its last, in small blocks.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::error::BridgeError;
use super::source::{self, Mark, SourceFile, SourceTensor};
use crate::checkpoint::Checkpoint;
use crate::disk;
use crate::record::{Piece, Record};
use crate::tensor_file;

/// A tensor that will be read.
#[derive(Clone, Debug)]
pub(super) enum Tensor<'a> {
    /// Of a Hugging Face folder.
    File { file: &'a SourceFile, name: &'a str, tensor: &'a SourceTensor },
    /// Of a checkpoint.
    Record { folder: &'a Path, checkpoint: &'a Checkpoint, record: &'a Record },
}

impl<'a> Tensor<'a> {
    pub(super) fn name(&self) -> &'a str {
        match self {
            Self::File { name, .. } => name,
            Self::Record { record, .. } => &record.name,
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::File { file, .. } => file.path.clone(),
            Self::Record { folder, .. } => folder.to_path_buf(),
        }
    }

    /// Rows and columns of a matrix; a row of what is none.
    pub(super) fn sides(&self) -> (usize, usize) {
        let shape = match self {
            Self::File { tensor, .. } => &tensor.shape,
            Self::Record { record, .. } => &record.shape,
        };
        match shape.as_slice() {
            [rows, columns] => (*rows as usize, *columns as usize),
            other => (1, other.iter().product::<u64>() as usize),
        }
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::File { tensor, .. } => tensor.length,
            Self::Record { record, .. } => record.shape.iter().product::<u64>() * record.dtype.size() as u64,
        }
    }

    /// Bytes that must be in memory at once besides a block: a checkpoint's pieces that are no runs of rows are read
    /// whole.
    pub(super) fn whole_piece(&self) -> u64 {
        match self {
            Self::Record { record, .. } if !is_runs(record) => {
                record.pieces.iter().map(|piece| piece.length).max().unwrap_or(0)
            }
            _ => 0,
        }
    }

    pub(super) fn open(&self) -> Result<Pull<'a>, BridgeError> {
        match self {
            Self::File { file, tensor, .. } => {
                let (opened, mark) = source::open(&file.path)?;
                same_file(&file.path, mark, file.mark)?;
                Ok(Pull::Run { path: &file.path, file: opened, at: tensor.start })
            }
            Self::Record { folder, record, .. } if is_runs(record) => {
                let mut pieces: Vec<&Piece> = record.pieces.iter().filter(|piece| piece.length > 0).collect();
                pieces.sort_by_key(|piece| std::cmp::Reverse(piece.range.first().map_or(0, |range| range.start)));
                Ok(Pull::Pieces { folder, record, later: pieces, now: None })
            }
            Self::Record { checkpoint, record, .. } => {
                Ok(Pull::Boxes { checkpoint, record, row: 0, buffer: Vec::new(), at: 0 })
            }
        }
    }
}

fn same_file(path: &Path, now: Mark, then: Mark) -> Result<(), BridgeError> {
    if now == then { Ok(()) } else { Err(BridgeError::Changed { path: path.to_owned() }) }
}

/// Whether every piece is some whole rows, so that the pieces in a row are the tensor.
fn is_runs(record: &Record) -> bool {
    let inner = |piece: &Piece| piece.range.iter().zip(&record.shape).skip(1).all(|(range, &size)| *range == (0..size));
    record.pieces.iter().all(inner)
}

/// A tensor that is being read.
pub(super) enum Pull<'a> {
    /// Bytes in a row.
    Run { path: &'a Path, file: File, at: u64 },
    /// Checked pieces, one after the other; the next is the last of `later`.
    Pieces { folder: &'a Path, record: &'a Record, later: Vec<&'a Piece>, now: Option<Box<Open<'a>>> },
    /// Boxes that are put together by some rows at a time.
    Boxes { checkpoint: &'a Checkpoint, record: &'a Record, row: u64, buffer: Vec<u8>, at: usize },
}

/// A piece that is being read.
pub(super) struct Open<'a> {
    piece: &'a Piece,
    path: PathBuf,
    file: File,
    done: u64,
    hasher: blake3::Hasher,
}

impl Pull<'_> {
    /// The next bytes. Whoever pulls knows how many there are.
    pub(super) fn fill(&mut self, block: &mut [u8]) -> Result<(), BridgeError> {
        match self {
            Self::Run { path, file, at } => {
                file.read_exact_at(block, *at).map_err(disk::read(path))?;
                *at += block.len() as u64;
                Ok(())
            }
            Self::Pieces { folder, record, later, now } => {
                let mut filled = 0;
                while filled < block.len() {
                    let mut open = match now.take() {
                        Some(open) => open,
                        None => Box::new(Open::new(folder, later.pop().expect("pieces cover the tensor"))?),
                    };
                    let n = (block.len() - filled).min((open.piece.length - open.done) as usize);
                    open.fill(&mut block[filled..filled + n])?;
                    filled += n;
                    if open.done < open.piece.length {
                        *now = Some(open);
                    } else {
                        let computed = open.hasher.finalize().to_hex().to_string();
                        tensor_file::same(&open.path, record, open.piece, computed)?;
                    }
                }
                Ok(())
            }
            Self::Boxes { checkpoint, record, row, buffer, at } => {
                let mut filled = 0;
                while filled < block.len() {
                    if *at == buffer.len() {
                        *row = next_rows(checkpoint, record, *row, block.len(), buffer)?;
                        *at = 0;
                    }
                    let n = (block.len() - filled).min(buffer.len() - *at);
                    block[filled..filled + n].copy_from_slice(&buffer[*at..*at + n]);
                    (filled, *at) = (filled + n, *at + n);
                }
                Ok(())
            }
        }
    }
}

impl<'a> Open<'a> {
    fn new(folder: &Path, piece: &'a Piece) -> Result<Self, BridgeError> {
        let path = folder.join(&piece.file);
        let file = File::open(&path).map_err(disk::read(&path))?;
        Ok(Self { piece, path, file, done: 0, hasher: blake3::Hasher::new() })
    }

    fn fill(&mut self, block: &mut [u8]) -> Result<(), BridgeError> {
        self.file.read_exact_at(block, self.piece.offset + self.done).map_err(disk::read(&self.path))?;
        self.hasher.update(block);
        self.done += block.len() as u64;
        Ok(())
    }
}

/// Reads about `wanted` bytes of whole rows, at least one row; returns the row behind them.
fn next_rows(
    checkpoint: &Checkpoint,
    record: &Record,
    row: u64,
    wanted: usize,
    buffer: &mut Vec<u8>,
) -> Result<u64, BridgeError> {
    let row_bytes = record.shape[1..].iter().product::<u64>() * record.dtype.size() as u64;
    let end = (row + (wanted as u64 / row_bytes.max(1)).max(1)).min(record.shape[0]);
    let inner = record.shape[1..].iter().map(|&size| 0..size);
    let range: Vec<_> = std::iter::once(row..end).chain(inner).collect();
    *buffer = checkpoint.read(&record.name, record.kind, &range)?.1;
    Ok(end)
}
