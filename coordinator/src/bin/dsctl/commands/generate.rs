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
    #[command(flatten)]
    given: Given,
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
        checkpoint.weights(self.given.ema)?;
        let imported = state.origin.as_ref().map(|origin| (origin.config.as_str(), origin.mtp_depth));
        let job = job_of(&state.spec_yaml, imported)?;
        let of_file = self.prompts_file.as_deref().map(read_text).transpose()?.unwrap_or_default();
        let n_prompts = self.prompts.len() + of_file.lines().filter(|line| !line.is_empty()).count();
        let given = Given { n_prompts, ..self.given };
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
}
