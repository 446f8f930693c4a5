//! Files beside the weights of a Hugging Face folder that programs need: the tokenizer and how to generate.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::BridgeError;
use super::source;
use crate::companions;
use crate::disk;
use crate::state::Companion;

pub(super) const GENERATION: &str = "generation_config.json";
/// All that are taken along, where they are.
pub(super) const NAMES: &[&str] = &[
    GENERATION,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
];
/// DeepSeek-V3's tokenizer.json has 8 MB.
const LIMIT: u64 = 1 << 28;

/// Those that a folder has, links followed.
pub(super) fn found(folder: &Path) -> Result<Vec<(&'static str, PathBuf)>, BridgeError> {
    let mut all = Vec::new();
    for name in NAMES {
        let path = folder.join(name);
        if fs::symlink_metadata(&path).is_err() {
            continue;
        }
        let (_, mark) = source::open(&path)?;
        if mark.length > LIMIT {
            return Err(BridgeError::TooLong { path, found: mark.length, most: LIMIT });
        }
        all.push((*name, path));
    }
    Ok(all)
}

/// Takes those of a Hugging Face folder into a checkpoint that is being made.
pub(super) fn take_in(from: &Path, checkpoint: &Path) -> Result<Vec<Companion>, BridgeError> {
    let found = found(from)?;
    let folder = checkpoint.join(companions::FOLDER);
    disk::remove(&folder)?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    fs::create_dir(&folder).map_err(disk::written(&folder))?;
    let copy = |(name, path): (&str, PathBuf)| {
        let (length, checksum) = companions::copy(&path, &folder.join(name))?;
        Ok(Companion { name: name.to_owned(), length, checksum })
    };
    let all = found.into_iter().map(copy).collect();
    disk::sync_folder(&folder)?;
    all
}

/// Gives those of a checkpoint to a Hugging Face folder, if they are as they came.
pub(super) fn give_out(checkpoint: &Path, kept: &[Companion], to: &Path) -> Result<(), BridgeError> {
    for companion in kept.iter().filter(|companion| NAMES.contains(&companion.name.as_str())) {
        let from = companions::place(checkpoint, &companion.name);
        let found = companions::copy(&from, &to.join(&companion.name))?;
        companions::same(&from, companion, found)?;
    }
    Ok(())
}
