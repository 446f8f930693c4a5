//! `dsctl data`: text becomes tokens, and tokens are looked at.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use ds_data::{TokenFolder, TokenizerChoice, prepare};
use serde_json::json;

use crate::data::show_progress;
use crate::failure::Failure;
use crate::output::{self, Exit, Format, FormatArgs, data};
use crate::show::numbers::{bytes, count};
use crate::watch::screen::Screen;

/// Turn text into tokens, or look at tokens
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Tokenize(Tokenize),
    Info(Info),
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Tokenize(tokenize) => tokenize.run(),
            Command::Info(info) => info.run(),
        }
    }
}

/// Turn text or JSONL (also zstd) into a folder of tokens
#[derive(clap::Args)]
struct Tokenize {
    /// A file, or a folder of files
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A Hugging Face tokenizer.json [default: a token is a byte]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

impl Tokenize {
    fn run(self) -> Result<Exit, Failure> {
        let failed = |source| Failure::Read { path: self.source.clone(), source };
        let source = fs::canonicalize(&self.source).map_err(failed)?;
        let out = std::path::absolute(&self.out).map_err(|source| Failure::Write { path: self.out.clone(), source })?;
        if fs::symlink_metadata(&out).is_ok() {
            return Err(Failure::OutExists { path: out });
        }
        let draft = Draft::beside(&out)?;
        let choice = self.tokenizer.clone().map_or(TokenizerChoice::Bytes, TokenizerChoice::File);
        let mut screen = Screen::new();
        let made = prepare(&source, &choice, &draft.0, &mut |progress| show_progress(&mut screen, "tokens", &progress));
        screen.clear();
        let made = made?;
        if !made.starts_with(&draft.0) {
            return Err(Failure::TokensAlready { path: made });
        }
        fs::rename(&made, &out).map_err(|source| Failure::Write { path: out.clone(), source })?;
        drop(draft);
        show(&out, self.format.format)
    }
}

/// Show what a folder of tokens holds
#[derive(clap::Args)]
struct Info {
    /// A folder that `dsctl data tokenize` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
}

impl Info {
    fn run(self) -> Result<Exit, Failure> {
        show(&self.folder, self.format.format)
    }
}

fn show(folder: &Path, format: Format) -> Result<Exit, Failure> {
    let tokens = TokenFolder::open(folder)?;
    let (n_tokens, n_bytes, vocab_size) = (tokens.n_tokens(), tokens.n_bytes(), tokens.vocab_size());
    match format {
        Format::Json => output::json(&json!({
            "folder": folder.display().to_string(),
            "tokens": n_tokens,
            "bytes": n_bytes,
            "vocab_size": vocab_size,
        }))?,
        Format::Text => data(format_args!(
            "{}\n{} tokens ({n_tokens}) of {vocab_size} kinds, from {} of text: {:.2} bytes a token",
            folder.display(),
            count(n_tokens as f64),
            bytes(n_bytes),
            n_bytes as f64 / n_tokens.max(1) as f64,
        ))?,
    }
    Ok(Exit::Done)
}

/// A folder for what is not ready yet, on the same disk as what it will be; removed with all that is left in it.
struct Draft(PathBuf);

impl Draft {
    fn beside(out: &Path) -> Result<Self, Failure> {
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let path = out.with_file_name(format!(".{name}.draft-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|source| Failure::Write { path: path.clone(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
