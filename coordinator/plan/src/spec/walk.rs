//! Every field of a spec that applies, in the order of the table.

use super::JobSpec;
use super::field::{At, Field};
use super::fields::{Child, Section, field_at, section};
use super::value::Value;

/// A field at its place in the lists.
#[derive(Clone, Copy)]
pub(super) struct Leaf {
    pub(super) field: &'static Field,
    pub(super) at: At,
}

impl Leaf {
    pub(super) fn path(&self) -> String {
        self.at.path(self.field.path)
    }

    pub(super) fn value(&self, spec: &JobSpec) -> Value {
        (self.field.lens.get)(spec, self.at)
    }
}

impl Field {
    /// The field that decides whether this one applies.
    pub(super) fn decider(&self) -> Option<&'static Self> {
        self.when.and_then(|when| field_at(&format!("{}.{}", self.section(), when.key)))
    }

    /// Whether it applies, as the spec stands.
    pub(super) fn applies(&self, spec: &JobSpec, at: At) -> bool {
        let (Some(when), Some(decider)) = (self.when, self.decider()) else { return true };
        when.is.contains(&(decider.lens.get)(spec, at).to_string().as_str())
    }
}

/// Every field that applies.
pub(super) fn leaves(spec: &JobSpec) -> Vec<Leaf> {
    let mut found = Vec::new();
    if let Some(whole) = section("") {
        collect(whole, At::default(), spec, &mut found);
    }
    found
}

fn collect(section: &Section, at: At, spec: &JobSpec, found: &mut Vec<Leaf>) {
    for child in section.children() {
        match child {
            Child::Field(field) if field.applies(spec, at) => found.push(Leaf { field, at }),
            Child::Field(_) => {}
            Child::Section(section) => match &section.list {
                None => collect(section, at, spec, found),
                Some(list) => {
                    for index in 0..(list.len)(spec, at) {
                        collect(section, at.item(section.path, index), spec, found);
                    }
                }
            },
        }
    }
}
