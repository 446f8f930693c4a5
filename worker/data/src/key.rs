//! The name of the folder that holds the tokens of a source.

use std::fs::File;

use crate::error::{DataError, reading};
use crate::source::SourceFile;
use crate::tokenizer::Loaded;

/// Changes when the same text would make other files.
const MADE_BY: &str = "dsctl-tokens 1";
/// Up to here a source is known by its content; a larger one by the times of its files, since reading it all takes long.
const CONTENT_MAX: u64 = 64 << 20;

/// Two sources of one name make the same tokens, wherever they lie.
pub(crate) fn name(tokenizer: &Loaded, files: &[SourceFile]) -> Result<String, DataError> {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(MADE_BY.as_bytes());
    part(tokenizer.name().as_bytes());
    let by_content = files.iter().map(|file| file.size).sum::<u64>() <= CONTENT_MAX;
    for file in files {
        part(file.name.as_os_str().as_encoded_bytes());
        part(&file.size.to_le_bytes());
        if by_content {
            part(content(file)?.as_bytes());
        } else {
            part(&file.modified.to_le_bytes());
        }
    }
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

fn content(file: &SourceFile) -> Result<blake3::Hash, DataError> {
    let mut hasher = blake3::Hasher::new();
    let open = File::open(&file.path).map_err(reading(&file.path))?;
    hasher.update_reader(open).map_err(reading(&file.path))?;
    Ok(hasher.finalize())
}
