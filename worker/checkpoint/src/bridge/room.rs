//! Room on the disk, asked before the first byte is written.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::draft::Draft;
use super::error::BridgeError;
use super::layout::FilePlan;
use crate::disk;

/// For manifests, notes and folders.
const SPARE: u64 = 16 << 20;

/// Refuses what the draft's disk has no room for. What an earlier run has written need not be written again.
pub(super) fn enough(draft: &Draft, files: &[FilePlan<'_>]) -> Result<(), BridgeError> {
    let left = |file: &FilePlan<'_>| file.length - draft.length_of(&file.name).min(file.length);
    let needed = files.iter().fold(SPARE, |sum, file| sum.saturating_add(left(file)));
    let free = free(draft.folder())?;
    if needed <= free {
        return Ok(());
    }
    Err(BridgeError::Room { path: draft.folder().to_owned(), needed, free })
}

/// Bytes of a folder's disk that this user may fill.
fn free(folder: &Path) -> Result<u64, BridgeError> {
    let found = statvfs(folder).map_err(|errno| disk::read(folder)(errno.into()))?;
    Ok(found.blocks_available().saturating_mul(found.fragment_size()))
}
