//! Traces of steps: all ranks' spans in one file, beside the checkpoints.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use super::Trainer;
use crate::error::RankError;
use crate::step::{Span, chrome};

impl Trainer {
    /// Whether the next step is traced.
    pub(super) fn is_traced(&self) -> bool {
        let every = self.phase().trace_every;
        every > 0 && (self.n_updates + 1).is_multiple_of(every)
    }

    /// Gathers the spans of the step that has ended; rank 0 writes them. Every rank calls it. A trace that cannot be
    /// written stops nobody, and is warned of.
    pub(super) fn write_trace(&self, spans: Vec<Span>) -> Result<(), RankError> {
        let Some(ranks) = self.groups.at_first(&spans)? else { return Ok(()) };
        let path = self.checkpoints.folder.with_file_name("traces").join(format!("step-{:08}.json", self.n_updates));
        if let Err(error) = ranks.map_err(io::Error::from).and_then(|ranks| write(&path, &ranks)) {
            tracing::warn!("the trace of step {} is not in {}: {error}", self.n_updates, path.display());
        }
        Ok(())
    }
}

fn write(path: &Path, ranks: &[Vec<Span>]) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("a file stands in a folder"))?;
    let mut file = BufWriter::new(File::create(path)?);
    chrome(ranks, &mut file)?;
    file.flush()
}
