//! Files that stand beside imported weights, such as a tokenizer: copied as they are, with checksums.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::CheckpointError;
use crate::state::Companion;

/// Where a checkpoint keeps them.
pub(crate) const FOLDER: &str = "companions";
/// Bytes that are copied at once.
const BLOCK: usize = 1 << 20;

/// Where a checkpoint has one.
pub(crate) fn place(checkpoint: &Path, name: &str) -> PathBuf {
    checkpoint.join(FOLDER).join(name)
}

/// Copies `from` to `to`, a new file that lasts, and says what it was.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(u64, String), CheckpointError> {
    disk::remove(to)?;
    let mut target = File::create_new(to).map_err(disk::written(to))?;
    let sum = each_block(from, |block| target.write_all(block).map_err(disk::written(to)))?;
    target.sync_all().map_err(disk::written(to))?;
    Ok(sum)
}

/// Whether a companion of a checkpoint is as it was imported.
pub(crate) fn check(checkpoint: &Path, companion: &Companion) -> Result<(), CheckpointError> {
    let path = place(checkpoint, &companion.name);
    let found = each_block(&path, |_| Ok(()))?;
    same(&path, companion, found)
}

/// Whether length and checksum are those that were noted.
pub(crate) fn same(path: &Path, companion: &Companion, found: (u64, String)) -> Result<(), CheckpointError> {
    let (length, computed) = found;
    if length != companion.length {
        return Err(CheckpointError::Length { path: path.to_owned(), found: length, expected: companion.length });
    }
    if computed != companion.checksum {
        let (record, bytes, stored) = ("the file".to_owned(), 0..length, companion.checksum.clone());
        return Err(CheckpointError::Checksum { path: path.to_owned(), record, bytes, stored, computed });
    }
    Ok(())
}

/// Bytes of a file and their blake3.
fn each_block(
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), CheckpointError>,
) -> Result<(u64, String), CheckpointError> {
    let mut file = File::open(path).map_err(disk::read(path))?;
    let (mut block, mut hasher, mut length) = (vec![0; BLOCK], blake3::Hasher::new(), 0);
    loop {
        let n = file.read(&mut block).map_err(disk::read(path))?;
        if n == 0 {
            return Ok((length, hasher.finalize().to_hex().to_string()));
        }
        hasher.update(&block[..n]);
        each(&block[..n])?;
        length += n as u64;
    }
}
