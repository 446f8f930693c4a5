//! One writer's safetensors file. Any reader of safetensors opens it; the checksums stand in the manifest.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::Path;

use safetensors::tensor::{Dtype as StoredDtype, Metadata, TensorInfo};

use crate::disk;
use crate::draft::Shard;
use crate::error::CheckpointError;
use crate::manifest::FileEntry;
use crate::record::{Dtype, Piece, Record, key, label};

/// Bytes that hold the length of the header's text.
pub(crate) const PREFIX: u64 = 8;
/// Larger headers are refused by other readers of safetensors.
pub(crate) const HEADER_LIMIT: u64 = 100_000_000;
/// Bytes that are read at once to compare checksums.
const BLOCK: usize = 1 << 20;

/// A writer's file in a checkpoint's folder.
pub(crate) fn name(writer: u32) -> String {
    format!("part-{writer:05}.safetensors")
}

/// Writes checked shards and says where each lies, in the order in which they were given.
pub(crate) fn write(
    folder: &Path,
    name: String,
    shards: &[Shard<'_>],
) -> Result<(FileEntry, Vec<Piece>), CheckpointError> {
    let path = folder.join(&name);
    // The order of other writers of safetensors: by falling size of an element, then by name.
    let mut order: Vec<(String, usize)> = shards.iter().enumerate().map(|(i, shard)| (shard.key(), i)).collect();
    order.sort_by_cached_key(|(key, i)| (usize::MAX - shards[*i].dtype.size(), key.clone()));
    let header = header(&path, &order, shards)?;
    let mut at = header.len() as u64;
    let mut pieces: Vec<Piece> = shards.iter().map(|shard| unwritten(&name, shard)).collect();
    disk::write(&path, |file| {
        file.write_all(&header)?;
        for &(_, i) in &order {
            let bytes = shards[i].bytes.bytes();
            assert_eq!(bytes.len() as u64, shards[i].bytes.n_bytes(), "there are as many bytes as was said before");
            file.write_all(&bytes)?;
            (pieces[i].offset, pieces[i].length, pieces[i].checksum) = (at, bytes.len() as u64, checksum(&bytes));
            at += bytes.len() as u64;
        }
        Ok(())
    })?;
    let header_checksum = checksum(&header);
    Ok((FileEntry { name, length: at, header_length: header.len() as u64, header_checksum }, pieces))
}

/// Where it lies and what its checksum is, writing will show.
fn unwritten(file: &str, shard: &Shard<'_>) -> Piece {
    Piece { range: shard.range.to_vec(), file: file.to_owned(), offset: 0, length: 0, checksum: String::new() }
}

fn header(path: &Path, order: &[(String, usize)], shards: &[Shard<'_>]) -> Result<Vec<u8>, CheckpointError> {
    let mut at = 0;
    let mut infos = Vec::with_capacity(order.len());
    for (key, i) in order {
        let shard = &shards[*i];
        let shape = shard.range.iter().map(|range| (range.end - range.start) as usize).collect();
        let data_offsets = (at, at + shard.bytes.n_bytes() as usize);
        at = data_offsets.1;
        infos.push((key.clone(), TensorInfo { dtype: stored(shard.dtype), shape, data_offsets }));
    }
    header_of(path, None, infos)
}

/// Length, text and padding of a file of these tensors; `notes` are for other readers.
pub(crate) fn header_of(
    path: &Path,
    notes: Option<HashMap<String, String>>,
    infos: Vec<(String, TensorInfo)>,
) -> Result<Vec<u8>, CheckpointError> {
    let damaged = |reason: String| CheckpointError::Header { path: path.to_owned(), reason };
    let metadata = Metadata::new(notes, infos).map_err(|error| damaged(error.to_string()))?;
    let mut text = serde_json::to_vec(&metadata).map_err(|error| damaged(error.to_string()))?;
    text.resize(text.len().next_multiple_of(PREFIX as usize), b' ');
    let length = text.len() as u64;
    if length > HEADER_LIMIT {
        return Err(damaged(format!("it has {length} bytes, and readers of safetensors take {HEADER_LIMIT}")));
    }
    Ok([length.to_le_bytes().to_vec(), text].concat())
}

/// Reads a piece and compares its checksum.
pub(crate) fn read_piece(folder: &Path, record: &Record, piece: &Piece) -> Result<Vec<u8>, CheckpointError> {
    let path = folder.join(&piece.file);
    let file = File::open(&path).map_err(disk::read(&path))?;
    let mut bytes = vec![0; piece.length as usize];
    file.read_exact_at(&mut bytes, piece.offset).map_err(disk::read(&path))?;
    same(&path, record, piece, checksum(&bytes))?;
    Ok(bytes)
}

/// Reads the whole file and compares every checksum; `held` are the pieces that lie in it.
pub(crate) fn verify(folder: &Path, entry: &FileEntry, held: &[(&Record, &Piece)]) -> Result<(), CheckpointError> {
    let path = folder.join(&entry.name);
    let file = File::open(&path).map_err(disk::read(&path))?;
    verify_header(&path, &file, entry, held)?;
    let mut block = vec![0; BLOCK];
    for (record, piece) in held {
        let mut hasher = blake3::Hasher::new();
        let mut done = 0;
        while done < piece.length {
            let n = (piece.length - done).min(BLOCK as u64);
            let block = &mut block[..n as usize];
            file.read_exact_at(block, piece.offset + done).map_err(disk::read(&path))?;
            hasher.update(block);
            done += n;
        }
        same(&path, record, piece, hasher.finalize().to_hex().to_string())?;
    }
    Ok(())
}

/// That the header is the one that was written, and says the same as the manifest.
fn verify_header(
    path: &Path,
    file: &File,
    entry: &FileEntry,
    held: &[(&Record, &Piece)],
) -> Result<(), CheckpointError> {
    let damaged = |reason: String| CheckpointError::Header { path: path.to_owned(), reason };
    if !(PREFIX..=PREFIX + HEADER_LIMIT).contains(&entry.header_length) {
        return Err(damaged(format!("it has {} bytes, not {PREFIX} to {HEADER_LIMIT}", entry.header_length)));
    }
    let mut bytes = vec![0; entry.header_length as usize];
    file.read_exact_at(&mut bytes, 0).map_err(disk::read(path))?;
    let computed = checksum(&bytes);
    if computed != entry.header_checksum {
        return Err(damaged(format!("its checksum is {computed} instead of {}", entry.header_checksum)));
    }
    let text = &bytes[PREFIX as usize..];
    let metadata: Metadata = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
    for (record, piece) in held {
        let key = key(record.kind, &record.name, &record.shape, &piece.range);
        let start = (piece.offset - entry.header_length) as usize;
        let place = (start, start + piece.length as usize);
        let is_same =
            metadata.info(&key).is_some_and(|info| info.data_offsets == place && info.dtype == stored(record.dtype));
        if !is_same {
            return Err(damaged(format!("it does not place {key} at {place:?} as the manifest does")));
        }
    }
    Ok(())
}

pub(crate) fn same(path: &Path, record: &Record, piece: &Piece, computed: String) -> Result<(), CheckpointError> {
    if computed == piece.checksum {
        return Ok(());
    }
    Err(CheckpointError::Checksum {
        path: path.to_owned(),
        record: label(record.kind, &record.name),
        bytes: piece.offset..piece.offset + piece.length,
        stored: piece.checksum.clone(),
        computed,
    })
}

pub(crate) fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

pub(crate) fn stored(dtype: Dtype) -> StoredDtype {
    match dtype {
        Dtype::F64 => StoredDtype::F64,
        Dtype::F32 => StoredDtype::F32,
        Dtype::BF16 => StoredDtype::BF16,
        Dtype::F16 => StoredDtype::F16,
    }
}
