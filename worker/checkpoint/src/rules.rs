//! The rules that make a manifest one that can be trusted. Who commits and who opens ask the same ones.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use crate::boxes;
use crate::error::{CheckpointError, Rule};
use crate::manifest::{self, FileEntry, Manifest};
use crate::record::{Dtype, Piece, Record, label};

/// Of a tensor; no model has more.
const MAX_DIMENSIONS: usize = 16;

/// All rules, and that every file is there with its length. Reads no tensor.
pub(crate) fn check(folder: &Path, manifest: &Manifest) -> Result<(), CheckpointError> {
    let flawed = |record: &Record, rule| CheckpointError::Record {
        path: folder.to_owned(),
        record: label(record.kind, &record.name),
        rule: Box::new(rule),
    };
    for pair in manifest.records.windows(2) {
        in_order(&pair[0], &pair[1]).map_err(|rule| flawed(&pair[1], rule))?;
    }
    for record in &manifest.records {
        covered(record).map_err(|rule| flawed(record, rule))?;
    }
    let files: HashMap<&str, &FileEntry> = manifest.files.iter().map(|file| (file.name.as_str(), file)).collect();
    for record in &manifest.records {
        if let Some(piece) = record.pieces.iter().find(|piece| !files.contains_key(piece.file.as_str())) {
            return Err(flawed(record, Rule::File { file: piece.file.clone() }));
        }
    }
    let mut pieces: BTreeMap<&str, Vec<Range<u64>>> = BTreeMap::new();
    for piece in manifest.records.iter().flat_map(|record| &record.pieces) {
        pieces.entry(&piece.file).or_default().push(piece.offset..piece.offset.saturating_add(piece.length));
    }
    for file in &manifest.files {
        plain_name(folder, &file.name)?;
        filled(folder, file, pieces.remove(file.name.as_str()).unwrap_or_default())?;
        has_length(folder, file)?;
    }
    for companion in manifest.state.companions() {
        plain_name(folder, &companion.name)?;
    }
    Ok(())
}

fn in_order(before: &Record, record: &Record) -> Result<(), Rule> {
    if (&before.name, before.kind) < (&record.name, record.kind) {
        return Ok(());
    }
    Err(Rule::Order { before: label(before.kind, &before.name) })
}

/// The bytes that a box of a tensor takes; an error if it is not one.
pub(crate) fn box_bytes(shape: &[u64], dtype: Dtype, range: &[Range<u64>]) -> Result<u64, Rule> {
    if range.len() != shape.len() {
        return Err(Rule::Dimensions { found: range.len(), expected: shape.len() });
    }
    if shape.len() > MAX_DIMENSIONS {
        return Err(Rule::TooManyDimensions { found: shape.len(), most: MAX_DIMENSIONS });
    }
    for (dimension, (range, &size)) in range.iter().zip(shape).enumerate() {
        if range.start > range.end || range.end > size {
            return Err(Rule::Outside { dimension, start: range.start, end: range.end, size });
        }
    }
    let whole = boxes::product(shape.iter().copied()).and_then(|elements| elements.checked_mul(dtype.size() as u64));
    let bytes = boxes::volume(range).and_then(|elements| elements.checked_mul(dtype.size() as u64));
    bytes.filter(|_| whole.is_some()).ok_or_else(|| Rule::TooLarge { shape: shape.to_vec() })
}

/// That a box and its bytes agree.
pub(crate) fn box_fits(shape: &[u64], dtype: Dtype, range: &[Range<u64>], found: u64) -> Result<(), Rule> {
    let expected = box_bytes(shape, dtype, range)?;
    if found == expected { Ok(()) } else { Err(Rule::Bytes { range: range.to_vec(), found, expected }) }
}

/// That the pieces cover the tensor exactly.
fn covered(record: &Record) -> Result<(), Rule> {
    for piece in &record.pieces {
        box_fits(&record.shape, record.dtype, &piece.range, piece.length)?;
    }
    let whole: Vec<Range<u64>> = record.shape.iter().map(|&size| 0..size).collect();
    let n_bytes = box_bytes(&record.shape, record.dtype, &whole)?;
    disjoint(&record.pieces)?;
    // Boxes that do not overlap hold no more than the tensor, so the sum fits.
    let there: u64 = record.pieces.iter().map(|piece| piece.length).sum();
    if there == n_bytes {
        return Ok(());
    }
    let ranges: Vec<&[Range<u64>]> = record.pieces.iter().map(|piece| piece.range.as_slice()).collect();
    let range = boxes::hole(&record.shape, &ranges).unwrap_or(whole);
    let size = record.dtype.size() as u64;
    Err(Rule::Hole { range, covered: there / size, elements: n_bytes / size })
}

/// That no two pieces hold the same element. Only those whose first ranges meet are compared.
fn disjoint(pieces: &[Piece]) -> Result<(), Rule> {
    let first = |piece: &Piece| piece.range.first().cloned().unwrap_or(0..1);
    let mut sorted: Vec<&Piece> = pieces.iter().filter(|piece| piece.length > 0).collect();
    sorted.sort_by_key(|piece| first(piece).start);
    for (i, a) in sorted.iter().enumerate() {
        let end = first(a).end;
        let near = sorted[i + 1..].iter().take_while(|b| first(b).start < end);
        if let Some(b) = near.into_iter().find(|b| boxes::common(&a.range, &b.range).is_some()) {
            return Err(Rule::Overlap {
                first: a.range.clone(),
                first_file: a.file.clone(),
                second: b.range.clone(),
                second_file: b.file.clone(),
            });
        }
    }
    Ok(())
}

/// That a file lies in the folder itself.
fn plain_name(folder: &Path, name: &str) -> Result<(), CheckpointError> {
    let is_plain = Path::new(name).file_name().is_some_and(|file| file == name) && name != manifest::NAME;
    let reason = || format!("it lists file {name:?}, which is no name in its folder");
    if is_plain {
        Ok(())
    } else {
        Err(CheckpointError::Manifest { path: folder.join(manifest::NAME), reason: reason() })
    }
}

/// That tensors fill a file from its header to its end, so that checksums cover every byte.
fn filled(folder: &Path, file: &FileEntry, mut tensors: Vec<Range<u64>>) -> Result<(), CheckpointError> {
    let flawed = |reason| CheckpointError::Layout { path: folder.join(&file.name), reason };
    tensors.sort_unstable_by_key(|bytes| (bytes.start, bytes.end));
    let mut at = file.header_length;
    for bytes in tensors {
        if bytes.start != at {
            return Err(flawed(format!("a tensor starts at byte {} instead of {at}", bytes.start)));
        }
        at = bytes.end;
    }
    if at == file.length { Ok(()) } else { Err(flawed(format!("they end at byte {at} of {}", file.length))) }
}

/// That a file is there with its length.
fn has_length(folder: &Path, file: &FileEntry) -> Result<(), CheckpointError> {
    let path = folder.join(&file.name);
    let found = std::fs::metadata(&path).map_err(crate::disk::read(&path))?.len();
    if found == file.length { Ok(()) } else { Err(CheckpointError::Length { path, found, expected: file.length }) }
}
