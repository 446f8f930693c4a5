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

#[cfg(test)]
mod tests {
    use ds_arch::hugging_face::{WeightType, write};
    use ds_arch::preset;

    use super::*;
    use crate::generation::{GenerationPlan, Given};
    use crate::spec::to_yaml;
    use crate::testing::spec;

    #[test]
    fn what_was_trained_has_its_job_and_what_was_imported_its_config() {
        let mut job = spec("bard", 2, 2, 2);
        (job.data.train, job.train[0].sequence) = ("/text".into(), 64);
        assert_eq!(job_of(&to_yaml(&job), None).unwrap().train[0].sequence, 64);
        let model = preset("deepseek-v3").unwrap();
        let config = write(&model, WeightType::Bf16, None).unwrap();
        let imported = job_of("", Some((&config, 0))).unwrap();
        assert_eq!((imported.model.n_layers, imported.model.mtp.depth), (61, 0));
        let given = Given { n_prompts: 1, ranks: Some("64".to_owned()), ..Given::default() };
        let plan = GenerationPlan::new(&given, imported).unwrap();
        assert_eq!((plan.window(), plan.trained(), plan.job().grid().n_expert()), (4096, 4096, 64));
        assert!(matches!(job_of("", None), Err(SourceError::Unknown)));
        assert!(matches!(job_of("version: 1", None), Err(SourceError::Job(_))));
        assert!(matches!(job_of("", Some(("{}", 1))), Err(SourceError::Config(_))));
    }
}
