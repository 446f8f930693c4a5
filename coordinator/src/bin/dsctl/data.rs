//! The data of a job, looked at before anything starts: is it there, is it enough, does it fit the model.

use std::path::Path;

use ds_data::{Progress, TokenFolder, TokenizerChoice, prepare};
use ds_plan::spec::{JobSpec, TokenizerSpec};

use crate::failure::Failure;
use crate::home::Home;
use crate::watch::screen::Screen;

/// Turns text into tokens where that has not been done, and looks whether a step can be cut from them.
pub(crate) fn prepare_data(spec: &JobSpec, home: &Home) -> Result<(), Failure> {
    let choice = match &spec.data.tokenizer {
        TokenizerSpec::Bytes => TokenizerChoice::Bytes,
        TokenizerSpec::File(path) => TokenizerChoice::File(path.clone()),
    };
    let sequence = spec.train.first().map_or(1, |phase| phase.sequence);
    // The token after the last, and as many more as MTP looks ahead.
    let extra = 1 + spec.model.mtp.depth;
    let train = Source { key: "train", path: &spec.data.train };
    let tokens = train.tokens(&choice, home)?;
    train.fits(&tokens, spec)?;
    if tokens.n_windows(sequence, extra) == 0 {
        return Err(train.too_short(&tokens, sequence, u64::from(sequence) + u64::from(extra)));
    }
    let Some(path) = &spec.data.validation else { return Ok(()) };
    let validation = Source { key: "validation", path };
    let tokens = validation.tokens(&choice, home)?;
    validation.fits(&tokens, spec)?;
    if tokens.n_windows_with_tail(sequence) == 0 {
        return Err(validation.too_short(&tokens, sequence, 2));
    }
    Ok(())
}

/// Whether what the job names is there at all, where it will be read.
pub(crate) fn find_data(spec: &JobSpec) -> Result<(), Failure> {
    let sources = [("train", Some(&spec.data.train)), ("validation", spec.data.validation.as_ref())];
    for (key, path) in sources.into_iter().filter_map(|(key, path)| Some((key, path?))) {
        Source { key, path }.find()?;
    }
    Ok(())
}

/// Shows how far the making of tokens is.
pub(crate) fn show_progress(screen: &mut Screen, what: &str, progress: &Progress) {
    screen.bytes(what, progress.done_bytes, progress.total_bytes);
}

struct Source<'a> {
    /// Below `data`.
    key: &'static str,
    path: &'a Path,
}

impl Source<'_> {
    fn find(&self) -> Result<(), Failure> {
        let missing = |source| Failure::DataMissing { key: self.key, path: self.path.to_owned(), source };
        std::fs::metadata(self.path).map(|_| ()).map_err(missing)
    }

    fn tokens(&self, choice: &TokenizerChoice, home: &Home) -> Result<TokenFolder, Failure> {
        self.find()?;
        let failed = |error| Failure::Data { key: self.key, error };
        let mut screen = Screen::new();
        let what = format!("tokens of data.{}", self.key);
        let folder = prepare(self.path, choice, &home.tokens(), &mut |progress| {
            show_progress(&mut screen, &what, &progress);
        });
        screen.clear();
        TokenFolder::open(&folder.map_err(failed)?).map_err(failed)
    }

    fn fits(&self, tokens: &TokenFolder, spec: &JobSpec) -> Result<(), Failure> {
        let (needed, vocab_size) = (u64::from(tokens.vocab_size()), u64::from(spec.model.vocab_size));
        if needed > vocab_size {
            let path = self.path.to_owned();
            return Err(Failure::TooManyWords { key: self.key, path, needed, vocab_size });
        }
        Ok(())
    }

    fn too_short(&self, tokens: &TokenFolder, sequence: u32, needed: u64) -> Failure {
        let (key, path, n_tokens) = (self.key, self.path.to_owned(), tokens.n_tokens());
        Failure::TooFewTokens { key, path, n_tokens, sequence, needed }
    }
}
