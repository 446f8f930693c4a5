//! `FILE --set KEY=VALUE`: the job that a command is about.

use std::path::PathBuf;

use ds_plan::spec::{Resolved, read};

use crate::failure::Failure;
use crate::files::read_text;

/// The job that a command is about.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SpecArgs {
    /// The job, as YAML
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Another value for one key; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl SpecArgs {
    /// The job, or everything that is wrong with it.
    pub(crate) fn read(&self) -> Result<Resolved, Failure> {
        let sets = self.sets.iter().map(|given| pair(given)).collect::<Result<Vec<_>, _>>()?;
        Ok(read(&read_text(&self.file)?, &self.file.to_string_lossy(), &sets)?)
    }
}

fn pair(given: &str) -> Result<(String, String), Failure> {
    let split = given.split_once('=').filter(|(key, _)| !key.trim().is_empty());
    let (key, value) = split.ok_or_else(|| Failure::SetWithoutValue { given: given.to_owned() })?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_at_the_first_equals_sign() {
        assert_eq!(pair("a.b=c=d").unwrap(), ("a.b".to_owned(), "c=d".to_owned()));
        assert_eq!(pair("a=").unwrap(), ("a".to_owned(), String::new()));
        for wrong in ["a", "=b", ""] {
            assert!(matches!(pair(wrong), Err(Failure::SetWithoutValue { .. })), "{wrong}");
        }
    }
}
