//! What a checkpoint says about its model, as a job.

use ds_arch::hugging_face::{self, ConfigProblems};

use crate::spec::{ComputeType, JobSpec, Problems, read};

/// All that a plan wants to know besides the network, for weights that no job of ours has trained.
const UNTRAINED: &str = "\
version: 1
kind: train
name: imported
model: { preset: tiny }
data: { train: /none, tokenizer: bytes }
train: [{ steps: 1, sequence: 1, batch: 1, microbatch: 1, learning_rate: { peak: 1.0e-3 } }]
";

/// Why a checkpoint's model is not known.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The job that trained it.
    #[error("the checkpoint's job does not read:\n{0}")]
    Job(#[from] Problems),
    /// The config that it was imported with.
    #[error("the checkpoint's config.json does not read:\n{0}")]
    Config(#[from] ConfigProblems),
    /// Neither is there.
    #[error("the checkpoint says neither which job trained it nor what it was imported from")]
    Unknown,
}

/// The job that trained a checkpoint's weights, or a job around the network that they were imported with: the text of
/// the `config.json` and the MTP modules that have weights.
///
/// # Errors
/// When neither is there, or does not read.
pub fn job_of(spec_yaml: &str, imported: Option<(&str, u32)>) -> Result<JobSpec, SourceError> {
    if !spec_yaml.is_empty() {
        return Ok(read(spec_yaml, "job.yaml", &[])?.spec);
    }
    let (config, mtp_depth) = imported.ok_or(SourceError::Unknown)?;
    let mut job = read(UNTRAINED, "job.yaml", &[])?.spec;
    job.model = hugging_face::read(config)?.model;
    job.model.mtp.depth = mtp_depth;
    job.precision.compute = ComputeType::Bf16;
    // Nobody knows, so the config's word is taken.
    job.train[0].sequence = job.model.attention.max_positions;
    Ok(job)
}
