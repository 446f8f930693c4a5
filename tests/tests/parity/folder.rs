//! Folders of golden data.

use std::collections::{BTreeSet, HashMap};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use tch::{Device, Tensor};

pub(crate) type Tensors = HashMap<String, Tensor>;

/// Where the product computes: on the CPU, or where `PARITY_DEVICE` says, such as `cuda:0`.
///
/// # Panics
/// When there is no such device.
pub(crate) fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    *DEVICE.get_or_init(|| {
        let name = env::var("PARITY_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
        let Some(index) = name.strip_prefix("cuda:") else { return Device::Cpu };
        let index = index.parse().unwrap_or_else(|_| panic!("PARITY_DEVICE={name}: cpu or cuda:N"));
        let ready = ds_kernels::load_cuda().and_then(|()| ds_kernels::cuda::prepare(index));
        ready.unwrap_or_else(|error| panic!("PARITY_DEVICE={name}: {error}"));
        Device::Cuda(index)
    })
}

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
        tensors.into_iter().map(|(name, tensor)| (name, tensor.to_device(device()))).collect()
    }

    /// Names of its files.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let files = entries.filter(|entry| entry.path().is_file());
        files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Names of its files but READMEs, manifests and those that are named.
    pub(crate) fn others(&self, named: &[&str]) -> BTreeSet<String> {
        let is_other = |file: &String| !ABOUT.contains(&file.as_str()) && !named.contains(&file.as_str());
        self.files().into_iter().filter(is_other).collect()
    }
}

/// Files that say what the others are.
const ABOUT: [&str; 2] = ["README.md", "MANIFEST.json"];

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
    if !folder.others(&[]).is_empty() {
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
