//! A Hugging Face folder: its config, and every tensor of its files by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ds_arch::hugging_face::{self, HuggingFaceConfig};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::error::BridgeError;
use super::header;
use crate::disk;

pub(super) const CONFIG: &str = "config.json";
pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// Hand-written files are thousands of times smaller.
const CONFIG_LIMIT: u64 = 1 << 24;
/// The released index of 92 thousand tensors has 9 MB.
const INDEX_LIMIT: u64 = 1 << 28;

/// A folder whose headers were read and agree.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) folder: PathBuf,
    pub(super) config: HuggingFaceConfig,
    /// As it was written.
    pub(super) config_text: String,
    pub(super) files: Vec<SourceFile>,
    pub(super) tensors: HashMap<String, SourceTensor>,
}

/// A safetensors file.
#[derive(Clone, Debug)]
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    /// What it was when its header was read.
    pub(super) mark: Mark,
    pub(super) header: blake3::Hash,
}

/// By which a file that changed is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) length: u64,
    /// Nanoseconds since 1970 of the last change.
    pub(super) changed: u128,
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
pub(super) struct SourceTensor {
    /// Of the folder's files.
    pub(super) file: usize,
    /// As the file calls it.
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    /// From the start of the file, in bytes.
    pub(super) start: u64,
    /// In bytes.
    pub(super) length: u64,
}

impl Source {
    pub(super) fn open(folder: &Path) -> Result<Self, BridgeError> {
        let path = folder.join(CONFIG);
        let config_text = text(&path, CONFIG_LIMIT)?;
        let config = hugging_face::read(&config_text).map_err(|problems| BridgeError::Config { path, problems })?;
        let index = index(folder)?;
        let names = index.as_ref().map_or_else(|| vec![SINGLE.to_owned()], files_of);
        let mut source =
            Self { folder: folder.to_owned(), config, config_text, files: Vec::new(), tensors: HashMap::new() };
        for name in &names {
            source.add(name, index.as_ref())?;
        }
        let absent = |(tensor, _): &(&String, &String)| !source.tensors.contains_key(*tensor);
        if let Some((tensor, file)) = index.as_ref().and_then(|index| index.iter().find(absent)) {
            let reason = format!("it says that {tensor} is in {file}, which does not have it");
            return Err(BridgeError::Index { path: folder.join(INDEX), reason });
        }
        Ok(source)
    }

    /// Takes up one file, whose tensors must be those that the index says.
    fn add(&mut self, name: &str, index: Option<&Index>) -> Result<(), BridgeError> {
        let path = self.folder.join(name);
        let (file, mark) = open(&path)?;
        let (entries, header) = header::read(&path, &file, mark.length)?;
        let bad = |reason: String| BridgeError::Index { path: self.folder.join(INDEX), reason };
        for entry in entries {
            match index.map(|index| index.get(&entry.name)) {
                Some(None) => return Err(bad(format!("it does not name {}, which is in {name}", entry.name))),
                Some(Some(other)) if other != name => {
                    return Err(bad(format!("it says that {} is in {other}, but it is in {name}", entry.name)));
                }
                _ => {}
            }
            let (start, length) = (entry.start, entry.length);
            let tensor = SourceTensor { file: self.files.len(), dtype: entry.dtype, shape: entry.shape, start, length };
            self.tensors.insert(entry.name, tensor);
        }
        self.files.push(SourceFile { path, mark, header });
        Ok(())
    }
}

/// A file that is one, and what it is like. Opens nothing else: a pipe would make the program wait.
pub(super) fn open(path: &Path) -> Result<(File, Mark), BridgeError> {
    let there = fs::metadata(path).map_err(disk::read(path))?;
    if !there.is_file() {
        let found = if there.is_dir() { "a folder" } else { "a device or pipe" };
        return Err(BridgeError::NoFile { path: path.to_owned(), found });
    }
    let file = File::open(path).map_err(disk::read(path))?;
    let meta = file.metadata().map_err(disk::read(path))?;
    let changed = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |at| at.as_nanos());
    Ok((file, Mark { length: meta.len(), changed }))
}

/// A whole file of text, unless it is too long to be one.
pub(super) fn text(path: &Path, most: u64) -> Result<String, BridgeError> {
    let (_, mark) = open(path)?;
    if mark.length > most {
        return Err(BridgeError::TooLong { path: path.to_owned(), found: mark.length, most });
    }
    Ok(fs::read_to_string(path).map_err(disk::read(path))?)
}

/// File by tensor.
type Index = BTreeMap<String, String>;

/// Every file once, in the order of names.
fn files_of(index: &Index) -> Vec<String> {
    index.values().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// What the folder's index says; none if it has one file instead.
fn index(folder: &Path) -> Result<Option<Index>, BridgeError> {
    let (path, single) = (folder.join(INDEX), folder.join(SINGLE));
    let there = |path: &Path| fs::symlink_metadata(path).is_ok();
    match (there(&path), there(&single)) {
        (false, false) => return Err(BridgeError::NoWeights { folder: folder.to_owned() }),
        (false, true) => return Ok(None),
        (true, _) => {}
    }
    let bad = |reason: String| BridgeError::Index { path: path.clone(), reason };
    let text = text(&path, INDEX_LIMIT)?;
    let read: IndexFile = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let map = read.weight_map.0;
    if map.is_empty() {
        return Err(bad("it names no tensor".to_owned()));
    }
    for (tensor, file) in &map {
        // No way out of the folder, nor into another one.
        let is_plain = Path::new(file).file_name().is_some_and(|name| name == file.as_str()) && !file.contains('\\');
        if !is_plain || !file.ends_with(".safetensors") {
            return Err(bad(format!("{tensor} is said to be in {file:?}, which is no name of a file beside it")));
        }
    }
    if there(&single) && !map.values().any(|file| file == SINGLE) {
        return Err(BridgeError::TwoWeights { folder: folder.to_owned() });
    }
    Ok(Some(map))
}

#[derive(Deserialize)]
struct IndexFile {
    weight_map: Once,
}

/// A map in which every key stands once.
struct Once(Index);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Once;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("files by the names of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
                let mut names = Index::new();
                while let Some((tensor, file)) = map.next_entry::<String, String>()? {
                    if names.insert(tensor.clone(), file).is_some() {
                        return Err(A::Error::custom(format!("{tensor} is there twice")));
                    }
                }
                Ok(Once(names))
            }
        }
        from.deserialize_map(Names)
    }
}
