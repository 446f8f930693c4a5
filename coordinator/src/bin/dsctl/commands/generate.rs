//! `dsctl generate`: a model writes. All flags are checked here; a worker, which has LibTorch, does the writing.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use ds_plan::generation::{GenerationPlan, Given, job_of};

use crate::failure::Failure;
use crate::files::read_text;
use crate::node::Worker;
use crate::output::{Exit, Format, FormatArgs, talk};
use crate::target::TargetArgs;

/// Let the model of a checkpoint write: it continues prompts, token by token
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Text to continue; repeat it for several
    #[arg(long = "prompt", value_name = "TEXT", allow_hyphen_values = true)]
    prompts: Vec<String>,
    /// A file with a prompt a line
    #[arg(long, value_name = "FILE")]
    prompts_file: Option<PathBuf>,
    /// Tokens to write for each at most [default: 200, or as many as the model was trained on]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    max_tokens: Option<String>,
    /// What logits are divided by; 0 takes the most probable token [default: 1]
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    temperature: Option<String>,
    /// Draw from the most probable tokens only, which together have this probability [default: 1]
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    top_p: Option<String>,
    /// Of all chance: the same seed writes the same [default: 0]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    seed: Option<String>,
    /// Let the MTP modules draft; what is written keeps its distribution, and at temperature 0 every token
    #[arg(long)]
    speculate: bool,
    /// Prompts that are continued together [default: 16]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    batch: Option<String>,
    /// Ranks, as threads of one process; experts are spread over those of a stage [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    ranks: Option<String>,
    /// Pipeline stages that they form [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pipeline: Option<String>,
    /// Threads of a rank [default: an equal share of the cores]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    threads: Option<String>,
    /// f32, bf16, fp8 or f64 [default: what it was trained in; bf16 for what was imported]
    #[arg(long, value_name = "FORMAT")]
    compute: Option<String>,
    /// cpu, or cuda:N for a GPU [default: cpu]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// `bytes` or a tokenizer.json [default: the one of the job that trained it]
    #[arg(long, value_name = "bytes|FILE")]
    tokenizer: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let (path, checkpoint) = self.target.newest()?;
        let state = checkpoint.state();
        let imported = state.origin.as_ref().map(|origin| (origin.config.as_str(), origin.mtp_depth));
        let job = job_of(&state.spec_yaml, imported)?;
        let of_file = self.prompts_file.as_deref().map(read_text).transpose()?.unwrap_or_default();
        let n_prompts = self.prompts.len() + of_file.lines().filter(|line| !line.is_empty()).count();
        let given = self.given(n_prompts);
        GenerationPlan::new(&given, job)?;
        let worker = Worker::find()?;
        talk(format_args!("{}, step {}", path.display(), state.step));

        let mut command = Command::new(worker.path());
        command.arg("generate").arg(&path).args(given.arguments());
        command.args(self.prompts.iter().map(|prompt| format!("--prompt={prompt}")));
        for (flag, path) in [("--prompts-file", &self.prompts_file), ("--tokenizer", &self.tokenizer)] {
            command.args(path.iter().flat_map(|path| [flag.as_ref(), path.as_os_str()]));
        }
        if self.format.format == Format::Json {
            command.arg("--format=json");
        }
        let status = command.stdin(Stdio::null()).status();
        let status = status.map_err(|source| Failure::WorkerNotStarted { path: worker.path().to_owned(), source })?;
        match status.code() {
            Some(0) => Ok(Exit::Done),
            // It has said why.
            Some(64) => Ok(Exit::User),
            Some(_) => Ok(Exit::Failed),
            None => Err(Failure::WriterKilled { how: status.to_string() }),
        }
    }

    fn given(&self, n_prompts: usize) -> Given {
        Given {
            max_tokens: self.max_tokens.clone(),
            temperature: self.temperature.clone(),
            top_p: self.top_p.clone(),
            seed: self.seed.clone(),
            batch: self.batch.clone(),
            ranks: self.ranks.clone(),
            pipeline: self.pipeline.clone(),
            threads: self.threads.clone(),
            compute: self.compute.clone(),
            device: self.device.clone(),
            speculate: self.speculate,
            n_prompts,
        }
    }
}
