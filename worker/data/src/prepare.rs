//! Makes a folder of tokens from text, once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::documents;
use crate::encoder::Encoder;
use crate::error::{DataError, writing};
use crate::folder::TokenFolder;
use crate::key;
use crate::manifest;
use crate::source::{self, SourceFile};
use crate::tokenizer::{Loaded, TokenizerChoice};
use crate::writer::{SHARD_TOKENS, Writer, sync_folder};

/// How far the making of tokens is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Of the source's files, as they lie on disk, read so far.
    pub done_bytes: u64,
    /// All of them.
    pub total_bytes: u64,
}

/// The folder of tokens of a source: the source itself if it is one already, otherwise one below `cache`, made now or
/// by an earlier call with the same text and tokenizer.
///
/// The source is a file, or a folder of files, read in the order of their names: `.jsonl` holds a document a line (its
/// field `text`), any other file is one document; both may be packed (`.zst`). Documents without text are left out.
/// Processes that make the same tokens at once wait for the first; what is not whole never has the folder's name.
///
/// # Errors
/// When the source, the tokenizer or the cache cannot be used.
pub fn prepare(
    source: &Path,
    tokenizer: &TokenizerChoice,
    cache: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, DataError> {
    if manifest::is_token_folder(source) {
        return Ok(source.to_owned());
    }
    let tokenizer = Loaded::new(tokenizer)?;
    let files = source::files(source)?;
    let name = key::name(&tokenizer, &files)?;
    let made = cache.join(&name);
    if is_whole(&made)? {
        return Ok(made);
    }
    fs::create_dir_all(cache).map_err(writing(cache))?;
    let lock = Lock::take(cache, &name)?;
    if is_whole(&made)? {
        return Ok(made);
    }
    lock.remove_leftovers(&made)?;
    let draft = Draft::new(cache, &name)?;
    tokenize(&files, &tokenizer, &draft.0, progress)?;
    if source::files(source)? != files {
        return Err(DataError::Changed { path: source.to_owned() });
    }
    if TokenFolder::open(&draft.0)?.n_tokens() == 0 {
        return Err(DataError::NoText { path: source.to_owned() });
    }
    match fs::rename(&draft.0, &made) {
        // Without locks on this file system another process may have been first; its tokens are the same.
        Err(_) if is_whole(&made)? => return Ok(made),
        renamed => renamed.map_err(writing(&made))?,
    }
    sync_folder(cache)?;
    Ok(made)
}

/// Whether the tokens are there; broken ones are not, and will be made anew.
fn is_whole(made: &Path) -> Result<bool, DataError> {
    if !made.exists() {
        return Ok(false);
    }
    match TokenFolder::open(made) {
        Ok(_) => Ok(true),
        Err(DataError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error @ DataError::Read { .. }) => Err(error),
        Err(_) => Ok(false),
    }
}

fn tokenize(
    files: &[SourceFile],
    tokenizer: &Loaded,
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DataError> {
    let total_bytes = files.iter().map(|file| file.size).sum();
    let mut done_bytes = 0;
    let mut writer = Writer::new(folder, tokenizer.layout(), SHARD_TOKENS);
    for file in files {
        let mut encoder = Encoder::new(tokenizer, &file.path, &mut writer);
        documents::read(file, &mut encoder, &mut |n| {
            done_bytes += n;
            progress(Progress { done_bytes, total_bytes });
        })?;
        encoder.finish()?;
    }
    writer.finish(tokenizer.name())?;
    Ok(())
}

/// Held while the tokens of one name are made; where the file system has no locks, nothing is held.
struct Lock {
    held: Option<File>,
    cache: PathBuf,
    /// Begins the names of drafts.
    prefix: String,
}

impl Lock {
    fn take(cache: &Path, name: &str) -> Result<Self, DataError> {
        let path = cache.join(format!("{name}.lock"));
        let file = File::create(&path).map_err(writing(&path))?;
        let held = file.lock().is_ok().then_some(file);
        Ok(Self { held, cache: cache.to_owned(), prefix: draft_prefix(name) })
    }

    /// What a process that was killed left, and tokens that are broken.
    fn remove_leftovers(&self, broken: &Path) -> Result<(), DataError> {
        if self.held.is_none() {
            return Ok(());
        }
        let entries = fs::read_dir(&self.cache).map_err(writing(&self.cache))?;
        let leftovers = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&self.prefix));
        let leftovers = leftovers.map(|entry| entry.path()).chain(broken.exists().then(|| broken.to_owned()));
        leftovers.into_iter().try_for_each(|path| fs::remove_dir_all(&path).map_err(writing(&path)))
    }
}

/// A folder for tokens that are not whole; removed unless it was renamed.
struct Draft(PathBuf);

impl Draft {
    fn new(cache: &Path, name: &str) -> Result<Self, DataError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = cache.join(format!("{}{}-{next}", draft_prefix(name), std::process::id()));
        fs::create_dir(&path).map_err(writing(&path))?;
        Ok(Self(path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn draft_prefix(name: &str) -> String {
    format!(".{name}.draft-")
}
