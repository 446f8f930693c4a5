//! `dsctl import`: a Hugging Face folder becomes a checkpoint.

use std::path::PathBuf;

use ds_checkpoint::bridge::Import;
use serde_json::json;

use crate::crossing::{CrossingArgs, cross};
use crate::failure::Failure;
use crate::output::{self, Exit, Format, FormatArgs, data, talk};

/// Make a checkpoint of a Hugging Face folder of DeepSeek-V3 (config.json and safetensors)
///
/// Every name, shape and type is compared with config.json before anything is written. FP8 blocks become singles, all
/// other values stay as they are. When it is killed or stopped, the same command goes on where it was.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder with config.json and model*.safetensors
    #[arg(value_name = "HF_DIR")]
    from: PathBuf,
    /// The checkpoint to make; it must not be there yet
    #[arg(value_name = "CKPT")]
    to: PathBuf,
    #[command(flatten)]
    crossing: CrossingArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let import = Import::open(&self.from)?;
        let (n_missing_mtp, n_derived) = (import.n_missing_mtp(), import.n_derived());
        if n_missing_mtp > 0 {
            talk(format_args!("config.json promises MTP modules, and no file has them: {n_missing_mtp} left out"));
        }
        if n_derived > 0 {
            talk(format_args!("{n_derived} tensors follow from config.json and are left out"));
        }
        let (limits, to) = (self.crossing.limits(), self.to);
        let crossed = cross("importing", limits, move |progress| import.run(&to, limits, progress))?;
        match self.format.format {
            Format::Json => {
                let mut facts = crossed.facts();
                facts["mtp_modules_left_out"] = json!(n_missing_mtp);
                facts["tensors_left_out"] = json!(n_derived);
                output::json(&facts)?;
            }
            Format::Text => data(crossed.line("imported to"))?,
        }
        Ok(Exit::Done)
    }
}
