//! Small jobs on generated text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A job of the `tiny` model, as YAML.
#[derive(Clone, Debug)]
pub struct Job {
    folder: PathBuf,
    sets: Vec<(String, String)>,
}

impl Job {
    /// In `folder`, which gets the text that the job learns from.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn tiny(folder: &Path) -> Self {
        for (name, first) in [("train.txt", 0), ("validation.txt", 1000)] {
            std::fs::write(folder.join(name), text(first, 1500)).expect("the test's folder can be written");
        }
        Self { folder: folder.to_owned(), sets: Vec::new() }
    }

    /// With another value at a key.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.sets.push((key.to_owned(), value.to_string()));
        self
    }

    /// On a grid of pipeline × data, with experts over `expert` ranks.
    #[must_use]
    pub fn grid(self, pipeline: u32, data: u32, expert: u32) -> Self {
        self.with("parallel.pipeline", pipeline).with("parallel.data", data).with("parallel.expert", expert)
    }

    /// Computed in that format; in BF16 with moments in BF16 too.
    #[must_use]
    pub fn format(self, compute: &str) -> Self {
        let moments = if compute == "bf16" { "bf16" } else { "f32" };
        self.with("precision.compute", compute).with("precision.moments", moments)
    }

    /// What stands in `job.yaml` before the overrides.
    pub fn yaml(&self) -> String {
        let folder = self.folder.display();
        format!(
            "version: 1
kind: train
name: tiny
seed: 7
model: {{ preset: tiny }}
data: {{ train: {folder}/train.txt, validation: {folder}/validation.txt, tokenizer: bytes }}
train:
  - steps: 20
    sequence: 32
    batch: 8
    microbatch: 1
    learning_rate: {{ peak: 1.0e-3, warmup: 5 }}
    mtp_weight: 0.3
    evaluate_bytes: 2048
balance: {{ policy: loss_free, speed: 0.001, sequence_weight: 1.0e-4 }}
checkpoint: {{ every: 0, keep: 2 }}
cluster: {{ device: cpu, share_devices: true, comm_timeout: 60s }}
"
        )
    }

    /// The overrides, for `--set`.
    pub fn sets(&self) -> &[(String, String)] {
        &self.sets
    }

    /// Writes `job.yaml` and returns its path and the arguments that carry the overrides.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn write(&self) -> (PathBuf, Vec<String>) {
        let path = self.folder.join("job.yaml");
        std::fs::write(&path, self.yaml()).expect("the test's folder can be written");
        (path, self.sets.iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]).collect())
    }
}

/// Lines that a small model can learn something from, the same at every call.
fn text(first: u64, n_lines: u64) -> String {
    let (who, does) = (["the king", "a fool", "my lord", "the queen"], ["loves", "fears", "sees", "hears"]);
    let mut text = String::new();
    for line in first..first + n_lines {
        let pick = line.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let (a, b, c) = (pick as usize % 4, (pick >> 8) as usize % 4, (pick >> 16) as usize % 4);
        writeln!(text, "{} {} {}, {line}", who[a], does[b], who[c]).expect("a string grows");
    }
    text
}
