//! What is wrong with a spec, all of it.

use std::fmt;

use super::origin::Origin;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1; none when it came by `--set`.
    pub line: Option<usize>,
    /// In characters, from 1; none when it came by `--set`.
    pub column: Option<usize>,
    /// The key, as `train[0].steps`; empty when the whole file is meant.
    pub path: String,
    /// As it was written; none when nothing was.
    pub value: Option<String>,
    /// What is wrong with the value, as the rest of a sentence that begins with it.
    pub rule: String,
    /// What to write instead, when we know.
    pub hint: Option<String>,
    place: Origin,
}

impl Problem {
    pub(super) fn new(place: &Origin, path: &str, value: Option<String>, wrong: Wrong) -> Self {
        let (line, column) = match place {
            Origin::File { line, column, .. } => (Some(*line), Some(*column)),
            _ => (None, None),
        };
        Self { line, column, path: path.to_owned(), value, rule: wrong.rule, hint: wrong.hint, place: place.clone() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.place)?;
        let dotted = |path: &str| path.replace('[', ".").replace(']', "");
        let is_said = matches!(&self.place, Origin::Set(key) if dotted(key) == dotted(&self.path));
        if !self.path.is_empty() && !is_said {
            write!(f, " {}:", self.path)?;
        }
        if let Some(value) = &self.value {
            write!(f, " {value}")?;
        }
        write!(f, " {}", self.rule)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

/// A rule that was broken, before it is known where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) rule: String,
    pub(super) hint: Option<String>,
}

impl Wrong {
    pub(super) fn new(rule: impl Into<String>) -> Self {
        Self { rule: rule.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Everything that is wrong with a spec; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// In the order of the file; what came by `--set` stands at the end.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// The value, when nothing is wrong.
    pub(super) fn or<T>(mut self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by_key(|problem| (problem.line.unwrap_or(usize::MAX), problem.column));
        Err(self)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}
