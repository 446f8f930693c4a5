//! The files of a source, by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::error::{DataError, reading};
use crate::manifest::is_token_folder;

/// Folders within folders; a link that leads back up is deeper.
const DEPTH_MAX: usize = 32;
/// What a folder of data may hold beside text, and what would make nonsense as text.
const NO_TEXT: [&str; 12] =
    ["gz", "bz2", "xz", "lz4", "zip", "tar", "parquet", "arrow", "npy", "bin", "safetensors", "pdf"];

/// One file of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    /// Below the source.
    pub(crate) name: PathBuf,
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: u128,
    pub(crate) text: TextKind,
    pub(crate) zstd: bool,
}

/// What is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// The whole file is one document.
    Plain,
    /// Each line is one document: JSON with a field `text`.
    JsonLines,
}

/// All files of a source, in the order of their names. Hidden ones and folders of tokens are passed over.
pub(crate) fn files(source: &Path) -> Result<Vec<SourceFile>, DataError> {
    let mut found = Vec::new();
    if fs::metadata(source).map_err(reading(source))?.is_dir() {
        walk(source, Path::new(""), 0, &mut found)?;
    } else {
        let name = source.file_name().unwrap_or_default();
        found.push(SourceFile::new(source.to_owned(), PathBuf::from(name))?);
    }
    if found.iter().all(|file| file.size == 0) {
        return Err(DataError::NoText { path: source.to_owned() });
    }
    Ok(found)
}

fn walk(folder: &Path, name: &Path, depth: usize, found: &mut Vec<SourceFile>) -> Result<(), DataError> {
    if depth > DEPTH_MAX {
        return Err(DataError::TooDeep { path: folder.to_owned(), depth });
    }
    let entries = fs::read_dir(folder).map_err(reading(folder))?;
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(reading(folder))?;
    names.retain(|name| !name.to_string_lossy().starts_with('.'));
    names.sort();
    for entry in names {
        let (path, name) = (folder.join(&entry), name.join(&entry));
        if fs::metadata(&path).map_err(reading(&path))?.is_dir() {
            if is_token_folder(&path) {
                continue;
            }
            walk(&path, &name, depth + 1, found)?;
        } else {
            found.push(SourceFile::new(path, name)?);
        }
    }
    Ok(())
}

impl SourceFile {
    fn new(path: PathBuf, name: PathBuf) -> Result<Self, DataError> {
        let metadata = fs::metadata(&path).map_err(reading(&path))?;
        let modified = metadata.modified().map_err(reading(&path))?;
        let zstd = suffix(&name) == "zst";
        let inner = if zstd { name.with_extension("") } else { name.clone() };
        let text = match suffix(&inner).as_str() {
            "jsonl" => TextKind::JsonLines,
            other if NO_TEXT.contains(&other) => return Err(DataError::Format { suffix: other.to_owned(), path }),
            _ => TextKind::Plain,
        };
        let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos());
        Ok(Self { path, name, size: metadata.len(), modified, text, zstd })
    }
}

fn suffix(name: &Path) -> String {
    name.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}
