//! `manifest.json`: what a checkpoint holds and where, with a checksum of itself as its last entry.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::error::CheckpointError;
use crate::record::Record;
use crate::state::TrainState;

/// Its name in a checkpoint's folder.
pub(crate) const NAME: &str = "manifest.json";
/// Of the format that this program writes and reads. Later ones keep the checksum at the end as it is, so that
/// [`CheckpointError::Version`] can be told from damage.
const VERSION: u64 = 1;
const FORMAT: &str = "dsctl-checkpoint";
/// Behind the text that the checksum covers.
const BEFORE_CHECKSUM: &str = ",\"checksum\":\"";
const AFTER_CHECKSUM: &str = "\"}\n";

/// Everything but the tensors' bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: String,
    version: u64,
    pub(crate) state: TrainState,
    pub(crate) files: Vec<FileEntry>,
    /// In the order of (name, kind).
    pub(crate) records: Vec<Record>,
}

/// One writer's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    pub(crate) name: String,
    /// In bytes.
    pub(crate) length: u64,
    /// Bytes before the first tensor's.
    pub(crate) header_length: u64,
    /// Of those.
    pub(crate) header_checksum: String,
}

#[derive(Deserialize)]
struct Head {
    format: String,
    version: u64,
}

impl Manifest {
    pub(crate) fn new(state: TrainState, files: Vec<FileEntry>, records: Vec<Record>) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, state, files, records }
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), CheckpointError> {
        let path = folder.join(NAME);
        let text = serde_json::to_string(self).expect("numbers, texts and lists make JSON");
        let open = text.strip_suffix('}').expect("a JSON object ends so");
        disk::write(&path, |file| file.write_all(sealed(open).as_bytes()))
    }

    pub(crate) fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join(NAME);
        let bytes = fs::read(&path).map_err(disk::read(&path))?;
        let bad = |reason: String| CheckpointError::Manifest { path: path.clone(), reason };
        let text = String::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
        let json = format!("{}}}", unsealed(&text, &path)?);
        let head: Head = serde_json::from_str(&json).map_err(|error| bad(error.to_string()))?;
        if head.format != FORMAT {
            return Err(bad(format!("its format is {:?}, not {FORMAT:?}", head.format)));
        }
        if head.version != VERSION {
            return Err(CheckpointError::Version { path, found: head.version, known: VERSION });
        }
        serde_json::from_str(&json).map_err(|error| bad(error.to_string()))
    }
}

/// `open`, a JSON object without its end, with its checksum and end.
fn sealed(open: &str) -> String {
    format!("{open}{BEFORE_CHECKSUM}{}{AFTER_CHECKSUM}", blake3::hash(open.as_bytes()).to_hex())
}

/// What the checksum covers, if the text ends exactly as [`sealed`] ends it.
fn unsealed<'a>(text: &'a str, path: &Path) -> Result<&'a str, CheckpointError> {
    let cut = |reason: &str| CheckpointError::Manifest { path: path.to_owned(), reason: reason.to_owned() };
    let (open, end) = text.rsplit_once(BEFORE_CHECKSUM).ok_or_else(|| cut("it does not end with its checksum"))?;
    let stored = end.strip_suffix(AFTER_CHECKSUM).ok_or_else(|| cut("it does not end with its checksum"))?;
    let computed = blake3::hash(open.as_bytes()).to_hex().to_string();
    if stored == computed {
        return Ok(open);
    }
    Err(CheckpointError::ManifestChecksum { path: path.to_owned(), stored: stored.to_owned(), computed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_version_is_told_from_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, sealed(r#"{"format":"dsctl-checkpoint","version":2,"more":[]"#)).unwrap();
        let text = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(text.contains("version 2") && text.contains("version 1"), "{text}");
        fs::write(&path, sealed(r#"{"format":"recipe","version":1"#)).unwrap();
        assert!(Manifest::read(folder.path()).unwrap_err().to_string().contains("\"recipe\""));
    }

    #[test]
    fn no_byte_of_it_can_change_and_no_end_can_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        Manifest::new(TrainState { step: 7, ..TrainState::default() }, vec![], vec![]).write(folder.path()).unwrap();
        let good = fs::read(&path).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap().state.step, 7);
        for i in 0..good.len() {
            for flip in [1, 0x20, 0x80] {
                let mut bad = good.clone();
                bad[i] ^= flip;
                fs::write(&path, &bad).unwrap();
                assert!(Manifest::read(folder.path()).is_err(), "byte {i} ^ {flip}");
            }
            fs::write(&path, &good[..i]).unwrap();
            assert!(Manifest::read(folder.path()).is_err(), "cut at {i}");
        }
    }
}
