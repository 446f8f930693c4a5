//! What a smoothed trigram reaches on the data of a job: the least that a model must beat.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ds_data::{DataError, TokenFolder, TokenizerChoice};
use ds_plan::spec::{JobSpec, TokenizerSpec};

/// Runs of one home often use the same data; more than these are forgotten.
const KNOWN_MAX: usize = 64;

/// Baselines that were worked out already.
#[derive(Clone, Debug)]
pub struct Baselines {
    cache: PathBuf,
    known: Arc<Mutex<BTreeMap<Key, f64>>>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The job has no held-out data.
    #[error("data.validation is not given, so there is nothing to compare on")]
    NoValidation,
    /// The data cannot be used.
    #[error("{0}")]
    Data(#[from] DataError),
}

type Key = (PathBuf, PathBuf, Option<PathBuf>, Option<u64>);

impl Baselines {
    /// Token folders lie in `cache`.
    pub fn new(cache: PathBuf) -> Self {
        Self { cache, known: Arc::default() }
    }

    /// Nats per byte on what the job is evaluated on. Takes seconds; for a thread of its own.
    ///
    /// # Errors
    /// When the data cannot be used.
    pub fn of(&self, spec: &JobSpec) -> Result<f64, BaselineError> {
        let validation = spec.data.validation.as_ref().ok_or(BaselineError::NoValidation)?;
        let (file, choice) = match &spec.data.tokenizer {
            TokenizerSpec::Bytes => (None, TokenizerChoice::Bytes),
            TokenizerSpec::File(file) => (Some(file.clone()), TokenizerChoice::File(file.clone())),
        };
        let max_bytes = spec.train.first().and_then(|phase| phase.evaluate_bytes);
        let key = (spec.data.train.clone(), validation.clone(), file, max_bytes);
        if let Some(&nats) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(nats);
        }
        let tokens = |source: &Path| -> Result<TokenFolder, DataError> {
            TokenFolder::open(&ds_data::prepare(source, &choice, &self.cache, &mut |_| {})?)
        };
        let nats = ds_data::trigram::baseline(&tokens(&spec.data.train)?, &tokens(validation)?, max_bytes)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.pop_first();
        }
        known.insert(key, nats);
        Ok(nats)
    }
}
