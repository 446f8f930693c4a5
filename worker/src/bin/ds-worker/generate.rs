//! `ds-worker generate`: a model writes. stdout is what it wrote, stderr is talk about it.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use ds_checkpoint::{Checkpoint, CheckpointError};
use ds_data::{DataError, TokenizerChoice, Vocabulary};
use ds_plan::generation::{FlagProblems, GenerationPlan, Given, SourceError, job_of};
use ds_plan::spec::{JobSpec, TokenizerSpec};
use ds_worker::error::RankError;
use ds_worker::generate::{Request, Summary, generate};

use crate::page::{Page, json, talk};

/// How what was written is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Prompts and what follows them, as it is written.
    Text,
    /// One document at the end.
    Json,
}

/// The command line.
#[derive(clap::Args)]
pub(crate) struct GenerateArgs {
    /// A checkpoint's folder
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Text to continue; repeat it for several
    #[arg(long = "prompt", value_name = "TEXT", allow_hyphen_values = true)]
    prompts: Vec<String>,
    /// A file with a prompt a line
    #[arg(long, value_name = "FILE")]
    prompts_file: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
    /// `bytes` or a tokenizer.json, instead of the one that the checkpoint's job names
    #[arg(long, value_name = "bytes|FILE")]
    tokenizer: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Why nothing, or not all, was written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Flags(#[from] FlagProblems),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Vocabulary(#[from] DataError),
    #[error("cannot read {}: {source}", path.display())]
    Prompts { path: PathBuf, source: io::Error },
    #[error("prompt {prompt} has token {token}, model.vocab_size is {vocab_size}: this is not the model's tokenizer")]
    UnknownToken { prompt: usize, token: u32, vocab_size: u32 },
    #[error(transparent)]
    Rank(#[from] RankError),
    #[error("stdout cannot be written: {0}")]
    Stdout(#[from] io::Error),
}

impl Failure {
    /// Who read stdout has enough.
    fn is_reader_gone(&self) -> bool {
        let (Self::Stdout(error) | Self::Rank(RankError::Tell(error))) = self else { return false };
        error.kind() == io::ErrorKind::BrokenPipe
    }

    fn code(&self) -> u8 {
        match self {
            Self::Rank(error) if error.kind() != "user" => 1,
            Self::Stdout(_) => 1,
            _ => 64,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Vocabulary(_) | Self::UnknownToken { .. } => Some("name the model's own with --tokenizer FILE"),
            Self::Checkpoint(_) => Some("dsctl ckpt verify says which checkpoints are whole"),
            Self::Prompts { .. } => Some("check the path"),
            _ => None,
        }
    }
}

impl GenerateArgs {
    pub(crate) fn run(self) -> ExitCode {
        match self.write() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) if failure.is_reader_gone() => ExitCode::SUCCESS,
            Err(failure) => {
                talk(format_args!("error: {failure}"));
                failure.hint().into_iter().for_each(|hint| talk(format_args!("hint: {hint}")));
                ExitCode::from(failure.code())
            }
        }
    }

    fn write(&self) -> Result<(), Failure> {
        let checkpoint = Checkpoint::open(&self.checkpoint)?;
        let state = checkpoint.state();
        let imported = state.origin.as_ref().map(|origin| (origin.config.as_str(), origin.mtp_depth));
        let job = job_of(&state.spec_yaml, imported)?;
        let texts = self.texts()?;
        let vocabulary_choice = self.tokenizer(&job);
        let given = Given { n_prompts: texts.len(), ..self.given.clone() };
        let plan = GenerationPlan::new(&given, job)?;
        let vocabulary = Vocabulary::open(&vocabulary_choice)?;
        let prompts = texts.iter().map(|text| vocabulary.encode(text)).collect::<Result<Vec<_>, _>>()?;
        known(&prompts, plan.job().spec().model.vocab_size)?;
        let max_tokens = plan.max_tokens(&prompts.iter().map(Vec::len).collect::<Vec<_>>())?;
        warn(&plan, &prompts, max_tokens);
        let request = Request {
            checkpoint: &checkpoint,
            ema: self.given.ema,
            plan: &plan,
            prompts: &prompts,
            max_tokens,
            n_ids: vocabulary.n_ids(),
            end: vocabulary.end(),
        };
        let is_shown = self.format == Format::Text;
        let mut page = Page::new(&vocabulary, &texts, &prompts, is_shown)?;
        let (written, summary) = generate(&request, &mut |row, tokens, ended| page.add(row, tokens, ended.is_some()))?;
        if !is_shown {
            json(&texts, &prompts, &written, &page.into_texts(), &summary)?;
        }
        talk(sentence(&summary));
        Ok(())
    }

    /// Those of the command line, then those of the file.
    fn texts(&self) -> Result<Vec<String>, Failure> {
        let mut texts = self.prompts.clone();
        if let Some(path) = &self.prompts_file {
            let file = fs::read_to_string(path).map_err(|source| Failure::Prompts { path: path.clone(), source })?;
            texts.extend(file.lines().filter(|line| !line.is_empty()).map(str::to_owned));
        }
        Ok(texts)
    }

    fn tokenizer(&self, job: &JobSpec) -> TokenizerChoice {
        match (&self.tokenizer, &job.data.tokenizer) {
            (Some(given), _) if given.as_os_str() == "bytes" => TokenizerChoice::Bytes,
            (Some(given), _) => TokenizerChoice::File(given.clone()),
            (None, TokenizerSpec::Bytes) => TokenizerChoice::Bytes,
            (None, TokenizerSpec::File(path)) => TokenizerChoice::File(path.clone()),
        }
    }
}

/// Every token has a row in the embedding.
fn known(prompts: &[Vec<u32>], vocab_size: u32) -> Result<(), Failure> {
    let unknown = |(i, prompt): (usize, &Vec<u32>)| {
        let token = prompt.iter().copied().find(|&token| token >= vocab_size)?;
        Some(Failure::UnknownToken { prompt: i + 1, token, vocab_size })
    };
    prompts.iter().enumerate().find_map(unknown).map_or(Ok(()), Err)
}

fn warn(plan: &GenerationPlan, prompts: &[Vec<u32>], max_tokens: u32) {
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let trained = plan.trained() as usize;
    if longest + max_tokens as usize > trained {
        talk(format_args!("the model was trained on {trained} tokens a sequence; what stands beyond is new to it"));
    }
}

/// `120 tokens in 0.82 s, 146 tokens/s; 720 bytes of cache a token; 50 of 70 drafts accepted (71%)`.
fn sentence(summary: &Summary) -> String {
    let Summary { tokens, seconds, cache_bytes_per_token, drafts_judged, drafts_accepted, .. } = *summary;
    let rate = tokens as f64 / seconds.max(f64::MIN_POSITIVE);
    let drafts = match drafts_judged {
        0 => String::new(),
        n => format!("; {drafts_accepted} of {n} drafts accepted ({:.0}%)", drafts_accepted as f64 * 100.0 / n as f64),
    };
    format!(
        "{tokens} tokens in {seconds:.2} s, {rate:.0} tokens/s; {cache_bytes_per_token} bytes of cache a token{drafts}"
    )
}
