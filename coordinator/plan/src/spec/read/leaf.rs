//! One field: read, defaulted, or missing.

use super::Reader;
use crate::spec::field::{Absent, At, Field, When};
use crate::spec::fields::field_at;
use crate::spec::origin::Origin;
use crate::spec::paths;
use crate::spec::problem::{Problem, Wrong};
use crate::spec::suggest::one_of;
use crate::spec::tree::{Content, Node, Scalar};
use crate::spec::value::Value;

impl Reader {
    pub(super) fn field(&mut self, field: &'static Field, at: At, node: Option<&Node>, near: &Origin) {
        let path = at.path(field.path);
        if let (Some(when), Some(decider)) = (field.when, field.decider()) {
            let decider = at.path(decider.path);
            if self.is_wrong(&decider) {
                // Whether it applies is not known; what it says can be looked at all the same.
                if let Some(node) = node {
                    self.value(field, &path, node, near);
                }
                return self.mark(&path);
            }
            if !field.applies(&self.spec, at) {
                return self.beside(when, &path, &decider, node);
            }
        }
        match node {
            Some(node) => {
                if let Some((value, origin)) = self.value(field, &path, node, near) {
                    self.put(field, at, value, origin);
                }
            }
            None if self.is_wrong(&path) => {}
            None => self.absent(field, at, near),
        }
    }

    /// What a node says; a problem is noted.
    fn value(&mut self, field: &Field, path: &str, node: &Node, near: &Origin) -> Option<(Value, Origin)> {
        let wrong = match &node.content {
            Content::Scalar(scalar) if scalar.is_null() && field.is_nullable => {
                return Some((Value::Null, near.clone()));
            }
            Content::Scalar(scalar) if scalar.is_null() => {
                self.problems.push(Problem::new(near, path, None, empty(field)));
                self.mark(path);
                return None;
            }
            Content::Scalar(scalar) => match field.kind.read(scalar) {
                Ok(value) => return Some((paths::whole(value, &node.origin), node.origin.clone())),
                Err(wrong) => wrong,
            },
            Content::List(_) | Content::Section(_) => {
                Wrong::new(format!("is not {}", field.kind.noun())).hint(field.kind.example())
            }
            Content::Refused => {
                self.mark(path);
                return None;
            }
        };
        self.refuse(node, path, or_null(field, wrong));
        None
    }

    fn put(&mut self, field: &Field, at: At, value: Value, origin: Origin) {
        (field.lens.set)(&mut self.spec, at, value);
        self.origins.insert(at.path(field.path), origin);
    }

    /// A field that stands where it does not apply.
    fn beside(&mut self, when: When, path: &str, decider: &str, node: Option<&Node>) {
        let Some(node) = node else { return };
        // What was said on the command line makes what the file says beside it idle, not wrong.
        let decided = self.origins.get(decider);
        if matches!((decided, &node.origin), (Some(Origin::Set(_)), Origin::File { .. })) {
            return;
        }
        let words = one_of(when.is.iter().copied());
        let words = words.trim_start_matches("write ");
        let wrong = Wrong::new(format!("means nothing here, it stands beside {}: {words} only", when.key));
        self.refuse(node, path, wrong.hint("leave it out"));
    }

    fn absent(&mut self, field: &'static Field, at: At, near: &Origin) {
        let is_of_model = field.path.starts_with("model.");
        match (self.preset, field.absent) {
            (Some(name), _) if is_of_model => {
                self.origins.insert(field.path.to_owned(), Origin::Preset(name));
            }
            (_, Absent::Default(written)) => {
                let scalar = Scalar { text: written.to_owned(), is_quoted: false };
                let read = if scalar.is_null() { Ok(Value::Null) } else { field.kind.read(&scalar) };
                self.put(field, at, read.expect("defaults of the table read"), Origin::Default);
            }
            (_, Absent::SameAs(path)) => self.followers.push((field, path)),
            (_, Absent::Required) if is_of_model => self.missing_of_model.push(field),
            (_, Absent::Required) => {
                self.missing(&at.path(field.path), near, &field.kind.example(), field.doc);
            }
        }
    }

    /// Gives a field the value of another, now that it is known.
    pub(super) fn follow(&mut self, field: &'static Field, path: &'static str) {
        let leader = field_at(path).filter(|_| !self.is_wrong(path));
        match leader {
            Some(leader) => {
                let value = (leader.lens.get)(&self.spec, At::default());
                self.put(field, At::default(), value, Origin::SameAs(path));
            }
            None => self.mark(field.path),
        }
    }
}

/// Names null beside what else can be written.
fn or_null(field: &Field, wrong: Wrong) -> Wrong {
    match wrong.hint {
        Some(hint) if field.is_nullable && hint.starts_with("write ") => {
            Wrong { rule: wrong.rule, hint: Some(format!("{hint}, or null for none")) }
        }
        _ => wrong,
    }
}

fn empty(field: &Field) -> Wrong {
    let hint = match field.absent {
        Absent::Default(written) => format!("leave the key out for {written}"),
        Absent::SameAs(path) => format!("leave the key out for the value of {path}"),
        Absent::Required => field.kind.example(),
    };
    Wrong::new("has no value").hint(hint)
}
