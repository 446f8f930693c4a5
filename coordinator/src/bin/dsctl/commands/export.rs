//! `dsctl export`: a checkpoint becomes a Hugging Face folder.

use std::path::PathBuf;

use clap::ValueEnum;
use ds_checkpoint::bridge::{Export, ExportOptions, ExportType};

use crate::crossing::{CrossingArgs, cross};
use crate::failure::Failure;
use crate::network::network_of;
use crate::output::{self, Exit, Format, FormatArgs, data, talk};
use crate::size::Size;
use crate::target::TargetArgs;

/// Make a Hugging Face folder of a checkpoint; of a job or folder, of the newest
///
/// What was imported and not trained since goes out bit for bit as it came, FP8 blocks and tokenizer too. When it is
/// killed or stopped, the same command goes on where it was.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// The folder to make; it must not be there yet
    #[arg(value_name = "HF_DIR")]
    to: PathBuf,
    /// Of weights; gates' biases stay singles
    #[arg(long, value_enum, default_value_t = WeightsArg::Stored, value_name = "TYPE")]
    dtype: WeightsArg,
    /// E4M3 with a scale for every block of 128 x 128, as the released checkpoint has them; the rest in BF16
    #[arg(long, conflicts_with = "dtype")]
    fp8: bool,
    /// A Hugging Face folder whose tokenizer and other fields of config.json are taken over
    #[arg(long, value_name = "HF_DIR")]
    like: Option<PathBuf>,
    /// Largest file of weights
    #[arg(long, value_name = "SIZE", default_value = "4G")]
    shard_size: Size,
    /// The moving averages of the weights (train[].ema) instead of the weights
    #[arg(long)]
    ema: bool,
    #[command(flatten)]
    crossing: CrossingArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// The type of exported weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WeightsArg {
    /// As they are kept
    Stored,
    F32,
    Bf16,
    F16,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let (path, checkpoint) = self.target.newest()?;
        let step = checkpoint.state().step;
        talk(format_args!("{}, step {step}", path.display()));
        let model = network_of(&path, &checkpoint)?;
        let weights = match self.dtype {
            _ if self.fp8 => ExportType::Fp8,
            WeightsArg::Stored => ExportType::Stored,
            WeightsArg::F32 => ExportType::F32,
            WeightsArg::Bf16 => ExportType::Bf16,
            WeightsArg::F16 => ExportType::F16,
        };
        let options = ExportOptions { weights, shard_bytes: self.shard_size.0, like: self.like, ema: self.ema };
        let export = Export::open(&path, checkpoint, model, options)?;
        let (limits, to) = (self.crossing.limits(), self.to);
        let crossed = cross("exporting", limits, move |progress| export.run(&to, limits, progress))?;
        match self.format.format {
            Format::Json => {
                let mut facts = crossed.facts();
                facts["checkpoint"] = path.display().to_string().into();
                facts["step"] = step.into();
                output::json(&facts)?;
            }
            Format::Text => data(crossed.line("exported to"))?,
        }
        Ok(Exit::Done)
    }
}
