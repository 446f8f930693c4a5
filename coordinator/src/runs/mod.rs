//! What a run leaves for people: one folder with the resolved job, logs, metrics, checkpoints and a summary.

mod baseline;
mod logs;
mod metrics;
mod simulated;
mod summary;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use baseline::{BaselineError, Baselines};
pub use logs::{LogBook, LogLine, LogReader, LogWriter};
pub use metrics::line;
pub use simulated::SimulatedRun;
pub use summary::{Facts, Summary};

use crate::store::Row;

/// Letters of the part of an id that comes from the job's name.
const NAME_MAX: usize = 40;

/// The folder of all runs.
#[derive(Clone, Debug)]
pub struct Runs {
    root: PathBuf,
}

/// Something could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct RunError {
    /// What.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl Runs {
    /// Runs are kept there.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// A run's folder.
    pub fn folder(&self, job: &str) -> PathBuf {
        assert!(is_id(job), "{job:?} is not the id of a job, so it names no folder");
        self.root.join(job)
    }

    /// Where a run's checkpoints lie, unless the job says otherwise.
    pub fn checkpoints(&self, job: &str) -> PathBuf {
        self.folder(job).join("checkpoints")
    }

    /// A run's summary.
    pub fn summary(&self, job: &str) -> PathBuf {
        self.folder(job).join("summary.json")
    }

    /// The highest number that an id in the folder ends with: what ran under an earlier state file counts too.
    pub fn newest_number(&self) -> u64 {
        let names = fs::read_dir(&self.root).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.filter_map(|name| number(name.to_str()?)).max().unwrap_or(0)
    }

    /// Makes a run's folder with the job in it. Twice is as good as once.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(&self, job: &str, spec_yaml: &str) -> Result<(), RunError> {
        let folder = self.folder(job);
        for part in ["logs", "checkpoints"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(failed(&path))?;
        }
        replace(&folder.join("job.yaml"), spec_yaml.as_bytes())
    }

    /// Adds a row to metrics.jsonl; `all` tells what else is true where the row cut others back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_metric(&self, row: &Row, all: impl FnOnce() -> Vec<Row>) -> Result<(), RunError> {
        if row.cut_back {
            return self.write_metrics(&row.metric.job, &all());
        }
        let path = self.metrics(&row.metric.job);
        let open = fs::OpenOptions::new().create(true).append(true).open(&path);
        open.and_then(|mut file| file.write_all(line(row).as_bytes())).map_err(failed(&path))
    }

    /// Writes metrics.jsonl anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_metrics(&self, job: &str, rows: &[Row]) -> Result<(), RunError> {
        let text: String = rows.iter().map(line).collect();
        replace(&self.metrics(job), text.as_bytes())
    }

    /// Writes summary.json.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_summary(&self, job: &str, summary: &Summary) -> Result<(), RunError> {
        let mut text = serde_json::to_vec_pretty(summary).expect("a summary is plain data with text keys");
        text.push(b'\n');
        replace(&self.summary(job), &text)
    }

    fn metrics(&self, job: &str) -> PathBuf {
        self.folder(job).join("metrics.jsonl")
    }
}

/// An id such as `shakespeare-0001`.
pub fn id(name: &str, number: u64) -> String {
    let mut slug = String::new();
    for letter in name.chars().flat_map(char::to_lowercase) {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(NAME_MAX);
    let slug = slug.trim_matches('-');
    format!("{}-{number:04}", if slug.is_empty() { "job" } else { slug })
}

/// Whether it may be the name of a run's folder. Ids come over the network, too.
pub fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.len() <= 2 * NAME_MAX && text.bytes().all(plain)
}

fn number(id: &str) -> Option<u64> {
    id.rsplit_once('-')?.1.parse().ok()
}

/// Whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let draft = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_owned();
    move |source| RunError { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Kind, Metric};

    fn row(step: u64, cut_back: bool) -> Row {
        let json = format!(r#"{{"step":{step},"loss":2.5}}"#);
        Row { row: 1, metric: Metric { job: "a-0001".to_owned(), kind: Kind::Step, step, json }, cut_back }
    }

    fn runs() -> (tempfile::TempDir, Runs) {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::new(folder.path().to_owned());
        runs.create("a-0001", "version: 1\n").unwrap();
        (folder, runs)
    }

    #[test]
    fn ids_are_the_name_made_plain_and_a_number() {
        assert_eq!(id("shakespeare", 1), "shakespeare-0001");
        assert_eq!(id("My Job: v2!", 12345), "my-job-v2-12345");
        assert_eq!(id("../..", 3), "job-0003");
        assert!(is_id(&id(&"long ".repeat(99), u64::MAX)));
    }

    #[test]
    fn nothing_that_leads_out_of_the_folder_is_an_id() {
        for bad in ["", "..", "a/b", "a b", "a\0b"] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn runs_of_an_earlier_state_file_are_counted() {
        let (folder, runs) = runs();
        fs::create_dir(folder.path().join("b-0041")).unwrap();
        fs::create_dir(folder.path().join("notes")).unwrap();
        assert_eq!(runs.newest_number(), 41);
    }

    #[test]
    fn metrics_are_added_and_cut_back() {
        let (_folder, runs) = runs();
        for step in 1..=3 {
            runs.add_metric(&row(step, false), || panic!("an added row needs no others")).unwrap();
        }
        let path = runs.metrics("a-0001");
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
        runs.add_metric(&row(2, true), || vec![row(1, false), row(2, true)]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"kind\":\"step\",\"step\":1,\"loss\":2.5}\n{\"kind\":\"step\",\"step\":2,\"loss\":2.5}\n");
    }
}
