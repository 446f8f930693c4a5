//! Keys that the table does not know: a slip, or a key in the wrong section.

use super::Reader;
use crate::spec::field::At;
use crate::spec::fields::{Child, PRESET, Section, everything};
use crate::spec::problem::{Problem, Wrong};
use crate::spec::suggest::{nearest, one_of};
use crate::spec::tree::{Entry, short};

impl Reader {
    pub(super) fn unknown_keys(&mut self, section: &Section, at: At, entries: &[Entry]) {
        let mut known: Vec<&str> = section.children().into_iter().map(Child::key).collect();
        if section.path == "model" {
            known.insert(0, PRESET);
        }
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let is_free = |key: &&&str| !entries.iter().any(|entry| entry.key == **key);
            let missed = nearest(&entry.key, known.iter().filter(is_free).copied());
            let meant = missed.or_else(|| nearest(&entry.key, known.iter().copied()));
            let hint = match (meant, elsewhere(&entry.key)) {
                (Some(key), _) => format!("did you mean {key}"),
                (None, Some(path)) => format!("it stands at {path}"),
                (None, None) => one_of(known.iter().copied()),
            };
            let path = at.path(&section.below(&short(&entry.key)));
            self.problems.push(Problem::new(&entry.origin, &path, None, Wrong::new("is no key here").hint(hint)));
            // What was meant is not missing as well.
            if let Some(key) = missed {
                let is_preset = (section.path, key) == ("model", PRESET);
                self.mark(&if is_preset { section.path.to_owned() } else { at.path(&section.below(key)) });
            }
        }
    }
}

/// Another section that has such a key.
fn elsewhere(key: &str) -> Option<&'static str> {
    everything().find(|child| child.key() == key).map(Child::whole_path)
}
