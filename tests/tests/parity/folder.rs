//! Folders of golden data.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tch::Tensor;

pub(crate) type Tensors = HashMap<String, Tensor>;

/// A folder of golden data.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    /// Below the root.
    pub(crate) name: String,
    path: PathBuf,
}

impl Folder {
    pub(crate) fn has(&self, file: &str) -> bool {
        self.path(file).is_file()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    /// # Panics
    /// When it cannot be read.
    pub(crate) fn json(&self, file: &str) -> Value {
        let text = fs::read_to_string(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// # Panics
    /// When it cannot be read.
    pub(crate) fn tensors(&self, file: &str) -> Tensors {
        let tensors = Tensor::read_safetensors(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        tensors.into_iter().collect()
    }

    /// Names of its files.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let files = entries.filter(|entry| entry.path().is_file());
        files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

/// Every folder at or below `root` that holds other files than a README and a manifest, in order of names.
pub(crate) fn leaves(root: &Path) -> Vec<Folder> {
    let mut found = Vec::new();
    collect(root, root, &mut found);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn collect(root: &Path, path: &Path, found: &mut Vec<Folder>) {
    let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let folder = Folder { name, path: path.to_owned() };
    if folder.files().iter().any(|file| file != "README.md" && file != "MANIFEST.json") {
        found.push(folder);
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            collect(root, &entry.path(), found);
        }
    }
}

/// A line for people.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A number of a JSON object.
///
/// # Panics
/// When it is none.
pub(crate) fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("{field} is a number, not {}", value[field]))
}
