//! `config.json` as the model's numbers.

use ds_arch::{ModelConfig, MtpConfig, MtpInput, hugging_face};

use crate::folder::Folder;

/// # Panics
/// When the file is not of DeepSeek-V3's form.
pub(super) fn read(folder: &Folder, mtp: MtpConfig) -> ModelConfig {
    ModelConfig { mtp, ..of(folder, "config.json") }
}

pub(super) fn without_mtp() -> MtpConfig {
    MtpConfig { depth: 0, input: MtpInput::PostNorm }
}

/// Both spellings say the same.
pub(super) fn check(folder: &Folder) -> String {
    assert_eq!(of(folder, "config.json"), of(folder, "config_deepseek_style.json"));
    "two spellings of one model".to_owned()
}

fn of(folder: &Folder, file: &str) -> ModelConfig {
    let text = folder.json(file).to_string();
    hugging_face::read(&text).unwrap_or_else(|error| panic!("{file}: {error}")).model
}
