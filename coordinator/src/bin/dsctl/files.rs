//! Files that users name: read and written, with a failure that names them.

use std::fs;
use std::path::Path;

use crate::failure::Failure;

/// All of a file.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}

/// All of a file, which must be text.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read_bytes(path)?).map_err(|_| Failure::NoText { path: path.to_owned() })
}

/// Makes a file, or replaces it.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|source| Failure::Write { path: path.to_owned(), source })
}
