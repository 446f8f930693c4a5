//! A folder with a home, a text and a job in it, and dsctl within.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A folder with a home, a text and a job in it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let text: String = (0..3000).map(|line| format!("{line}: the fool doth think he is wise\n")).collect();
        fs::write(place.path("train.txt"), &text).unwrap();
        fs::write(place.path("validation.txt"), &text[..20_000]).unwrap();
        place.write("job.yaml", JOB);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dsctl"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("DSCTL_HOME", self.home())
            .env("DSCTL_WORKER", self.path("ds-worker"))
            .env("NO_COLOR", "1")
            .env_remove("DSCTL_TOKEN")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn dsctl(&self, arguments: &[&str]) -> Said {
        run(&mut self.command(arguments))
    }

    /// What a command that succeeds prints as JSON.
    pub(crate) fn facts(&self, arguments: &[&str]) -> Value {
        let said = self.dsctl(&[arguments, &["--format", "json"]].concat());
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said:?}"))
    }

    /// What a command prints as JSON about a job that is not done.
    pub(crate) fn facts_of_failure(&self, arguments: &[&str]) -> Value {
        let said = self.dsctl(&[arguments, &["--format", "json"]].concat());
        assert_eq!(said.code, Some(1), "{arguments:?}: {said:?}");
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said:?}"))
    }

    /// A program that takes the place of ds-worker. Another process writes it: a process that another test starts at
    /// this moment may hold copies of all that this one has open, and a program that somebody may write cannot be run.
    pub(crate) fn fake_worker(&self, script: &str) {
        self.write("ds-worker.sh", &format!("#!/bin/sh\n{script}\n"));
        let [from, to] = ["ds-worker.sh", "ds-worker"].map(|name| self.path(name));
        assert!(Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap().success());
    }
}

impl Said {
    /// It ended so, and stderr has these words.
    pub(crate) fn ended(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for words in words {
            assert!(self.stderr.contains(words), "{words:?} is missing in\n{}", self.stderr);
        }
        self
    }
}

pub(crate) fn run(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The job that everybody gets to see first.
pub(crate) fn quickstart() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("deploy/jobs/quickstart.yaml").display().to_string()
}

const JOB: &str = "\
version: 1
kind: train
name: tiny
seed: 7
model: { preset: tiny }
data: { train: train.txt, validation: validation.txt, tokenizer: bytes }
train:
  - steps: 20
    sequence: 32
    batch: 8
    microbatch: 1
    learning_rate: { peak: 1.0e-3, warmup: 5 }
cluster: { device: cpu, share_devices: true }
";
