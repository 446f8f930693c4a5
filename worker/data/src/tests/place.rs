//! A folder of its own for each test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{DataError, TokenFolder, TokenizerChoice, prepare};

/// Removed at the end.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ds-data-{}-{next}", std::process::id()));
        // An earlier process of that number may have been killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// Writes a file below `source`.
    pub(super) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("source").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Makes tokens of a source.
    pub(super) fn prepare(&self, source: &Path, choice: &TokenizerChoice) -> Result<PathBuf, DataError> {
        prepare(source, choice, &self.cache(), &mut |_| ())
    }

    /// Tokens that are bytes, of all that was put.
    pub(super) fn bytes(&self) -> TokenFolder {
        TokenFolder::open(&self.prepare(&self.path("source"), &TokenizerChoice::Bytes).unwrap()).unwrap()
    }

    /// What is said about all that was put.
    pub(super) fn refusal(&self, choice: &TokenizerChoice) -> String {
        self.prepare(&self.path("source"), choice).unwrap_err().to_string()
    }

    /// Names of what lies in the cache.
    pub(super) fn cached(&self) -> Vec<String> {
        let entries = fs::read_dir(self.cache()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Text that comes back as it was, from tokens that are bytes.
pub(super) fn documents(tokens: &TokenFolder) -> Vec<String> {
    let all = tokens.tokens(0..u64::MAX);
    let mut split: Vec<&[u32]> = all.split(|&token| token == tokens.end_of_document()).collect();
    assert_eq!(split.pop(), Some(&[][..]), "the last document is not closed");
    let text = |document: &&[u32]| document.iter().map(|&token| u8::try_from(token).unwrap()).collect();
    split.iter().map(|document| String::from_utf8(text(document)).unwrap()).collect()
}
