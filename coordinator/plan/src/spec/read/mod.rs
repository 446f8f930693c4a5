//! A tree into a spec, by the table of fields. A mistake is noted and reading goes on.

mod head;
mod leaf;
mod model;
mod unknown;

use std::collections::{BTreeMap, BTreeSet};

use super::JobSpec;
use super::blank::blank;
use super::events::{Source, tree};
use super::field::{At, Field};
use super::fields::{Child, List, Section, section};
use super::origin::Origin;
use super::problem::{Problem, Problems, Wrong};
use super::resolved::Resolved;
use super::rules;
use super::set::lay_over;
use super::tree::{Content, Entry, Node};

/// Reads a job: the text of a YAML file, what the file is called, and what `--set` lays over it. Paths of the file are
/// taken from its folder, those of `--set` from the working directory.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn read(text: &str, file: &str, sets: &[(String, String)]) -> Result<Resolved, Problems> {
    let mut problems = Problems::default();
    let source = Source::File(file.into());
    let start = source.at(1, 1);
    let root = tree(text, &source, &mut problems);
    if root.is_none() && problems.iter().next().is_some() {
        return Err(problems);
    }
    let empty = Node { content: Content::Section(Vec::new()), origin: start.clone() };
    let mut root = match root {
        Some(root) if !root.is_null() => root,
        _ if sets.is_empty() => {
            let wrong = Wrong::new("the file is empty").hint("begin it with version: 1 and kind: train");
            return Err(Problem::new(&start, "", None, wrong).into());
        }
        _ => empty,
    };
    for (key, value) in sets {
        lay_over(&mut root, key, value, &mut problems);
    }
    if let Some(problem) = head::other_format(&root) {
        return Err(problem.into());
    }
    let mut reader = Reader::new(problems, start.clone());
    if let Some(whole) = section("") {
        reader.section(whole, At::default(), Some(&root), &start);
    }
    reader.finish()
}

/// A spec while it is read.
pub(super) struct Reader {
    pub(super) spec: JobSpec,
    pub(super) problems: Problems,
    /// Where the file begins.
    start: Origin,
    /// By path, of every field that was set.
    pub(super) origins: BTreeMap<String, Origin>,
    /// Paths of fields and sections that have a problem; what depends on them is not looked at.
    wrong: BTreeSet<String>,
    /// The model that gives what is not written, once it is known.
    preset: Option<&'static str>,
    /// Fields that take another field's value.
    followers: Vec<(&'static Field, &'static str)>,
    /// Fields of the model that neither file nor preset gives.
    missing_of_model: Vec<&'static Field>,
}

impl Reader {
    fn new(problems: Problems, start: Origin) -> Self {
        Self {
            spec: blank(),
            problems,
            start,
            origins: BTreeMap::new(),
            wrong: BTreeSet::new(),
            preset: None,
            followers: Vec::new(),
            missing_of_model: Vec::new(),
        }
    }

    /// Everything in a section; `near` is where the section would stand when it does not.
    fn section(&mut self, section: &Section, at: At, node: Option<&Node>, near: &Origin) {
        let path = at.path(&section.within());
        let (entries, here): (&[Entry], _) = match node.map(|node| (&node.content, node)) {
            Some((Content::Section(entries), node)) => (entries, &node.origin),
            Some((Content::Refused, _)) => return self.mark(&path),
            Some((_, node)) if !node.is_null() => {
                return self.refuse(node, &path, Wrong::new("is not a section of keys"));
            }
            _ => (&[], near),
        };
        self.unknown_keys(section, at, entries);
        if section.path == "model" {
            self.preset(node);
        }
        for child in section.children() {
            let entry = entries.iter().find(|entry| entry.key == child.key());
            let node = entry.map(|entry| &entry.node);
            // An empty value has no place of its own.
            let near = if node.is_some_and(Node::is_null) { entry.map_or(here, |entry| &entry.origin) } else { here };
            match child {
                Child::Field(field) => self.field(field, at, node, near),
                Child::Section(section) => match &section.list {
                    None => self.section(section, at, node, near),
                    Some(list) => self.list(section, list, at, node, near),
                },
            }
        }
        if section.path == "model" {
            self.model_is_whole(node, here);
        }
        // Of a section that is not there, defaults are worth as little as what is missing.
        if entries.is_empty() && section.children().iter().any(|child| self.is_wrong(&child.path(at))) {
            self.mark(&path);
        }
    }

    fn list(&mut self, section: &Section, list: &List, at: At, node: Option<&Node>, near: &Origin) {
        let path = at.path(section.path);
        let items: &[Node] = match node.map(|node| (&node.content, node)) {
            Some((Content::List(items), _)) => items,
            Some((Content::Refused, _)) => return self.mark(&path),
            Some((_, node)) if !node.is_null() => {
                return self.refuse(node, &path, Wrong::new("is not a list").hint("begin each item with a dash"));
            }
            _ if self.is_wrong(&path) => return,
            _ => &[],
        };
        if items.len() < list.least && node.is_none() {
            return self.missing(&path, near, "write a list", section.doc);
        }
        let n = match items.len() {
            n if n < list.least => Some(format!("has {n} items, at least {} is needed", list.least)),
            n if n > list.most => Some(format!("has {n} items, at most {} is possible for now", list.most)),
            _ => None,
        };
        if let Some(rule) = n {
            let origin = node.map_or(near, |node| &node.origin);
            self.problems.push(Problem::new(origin, &path, None, Wrong::new(rule)));
            self.mark(&path);
        }
        let n = items.len().min(list.most);
        (list.resize)(&mut self.spec, at, n);
        for (index, item) in items.iter().take(n).enumerate() {
            self.section(section, at.item(section.path, index), Some(item), &item.origin);
        }
    }

    /// The rules that join fields, once all are read.
    fn finish(mut self) -> Result<Resolved, Problems> {
        for (field, path) in std::mem::take(&mut self.followers) {
            self.follow(field, path);
        }
        rules::check(&mut self);
        let Self { spec, problems, origins, .. } = self;
        problems.or(Resolved { spec, origins })
    }

    fn mark(&mut self, path: &str) {
        self.wrong.insert(path.to_owned());
    }

    /// Whether the field, or a section around it, has a problem.
    pub(super) fn is_wrong(&self, path: &str) -> bool {
        let around = |end: usize| self.wrong.contains(&path[..end]);
        around(0) || around(path.len()) || path.match_indices(['.', '[']).any(|(end, _)| around(end))
    }

    /// Whether anything in the list has a problem.
    pub(super) fn has_wrong(&self, list: &str) -> bool {
        self.wrong.iter().any(|path| path.strip_prefix(list).is_some_and(|rest| rest.starts_with('[')))
    }

    fn refuse(&mut self, node: &Node, path: &str, wrong: Wrong) {
        self.problems.push(Problem::new(&node.origin, path, node.shown(), wrong));
        self.mark(path);
    }

    fn missing(&mut self, path: &str, near: &Origin, example: &str, doc: &str) {
        let (first, rest) = doc.trim_end_matches('.').split_at(1);
        let hint = format!("{example}: {}{rest}", first.to_lowercase());
        self.problems.push(Problem::new(near, path, None, Wrong::new("is missing").hint(hint)));
        self.mark(path);
    }

    /// Notes a broken rule at the first of its fields that somebody wrote, and that the first of all is wrong.
    pub(super) fn broken(&mut self, paths: &[String], value: Option<String>, wrong: Wrong) {
        let mut origins = paths.iter().filter_map(|path| self.origins.get(path));
        let place = origins.find(|origin| origin.is_written()).unwrap_or(&self.start).clone();
        self.problems.push(Problem::new(&place, &paths[0], value, wrong));
        // What only repeats the value is no mistake of its own.
        let repeats = |origin: &Origin| matches!(origin, Origin::SameAs(path) if *path == paths[0]);
        let followers = self.origins.iter().filter(|(_, origin)| repeats(origin)).map(|(path, _)| path);
        self.wrong.extend(followers.chain([&paths[0]]).cloned());
    }
}
