//! The model: by name, by numbers, or by name with other numbers.

use ds_arch::{PRESETS, preset};

use super::Reader;
use crate::spec::fields::{PRESET, PRESET_PATH};
use crate::spec::origin::Origin;
use crate::spec::problem::{Problem, Wrong};
use crate::spec::suggest::{did_you_mean, list, one_of};
use crate::spec::tree::{Content, Node};

impl Reader {
    /// Takes all numbers of the named model, before those that are written beside it.
    pub(super) fn preset(&mut self, model: Option<&Node>) {
        let Some(node) = model.and_then(|model| model.get(PRESET)).filter(|node| !node.is_null()) else { return };
        let known = || PRESETS.iter().copied();
        let wrong = match &node.content {
            Content::Scalar(scalar) => match (known().find(|name| *name == scalar.text), preset(&scalar.text)) {
                (Some(name), Some(config)) => {
                    self.spec.model = config;
                    self.preset = Some(name);
                    return;
                }
                _ => Wrong::new("is no preset").hint(did_you_mean(&scalar.text, known())),
            },
            Content::Refused => return self.mark("model"),
            _ => Wrong::new("is not a preset's name").hint(one_of(known())),
        };
        self.refuse(node, PRESET_PATH, wrong);
        // Nothing is known of what it would have given.
        self.mark("model");
    }

    /// One message for all that is missing: who leaves out the preset does not want to hear of twenty fields.
    pub(super) fn model_is_whole(&mut self, model: Option<&Node>, near: &Origin) {
        let missing = std::mem::take(&mut self.missing_of_model);
        if missing.is_empty() || self.is_wrong("model") {
            return;
        }
        let names = list(missing.iter().map(|field| field.path.trim_start_matches("model.")));
        let wrong = match model {
            None => Wrong::new("is missing"),
            Some(_) => Wrong::new(format!("has no preset and no {names}")),
        };
        let presets = one_of(PRESETS.iter().copied());
        let wrong = wrong.hint(presets.replacen("write", "write preset:", 1));
        self.problems.push(Problem::new(near, "model", None, wrong));
        self.mark("model");
    }
}
