//! YAML text into a tree. What a spec has no use for (aliases, tags, merge keys, several documents) is refused with a
//! sentence, and reading goes on; only broken syntax ends it.

use std::borrow::Cow;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::origin::Origin;
use super::problem::{Problem, Problems, Wrong};
use super::tree::{Content, Entry, Node, Scalar, short};

/// Deeper than any spec; a tree is walked and dropped by recursion.
const DEEPEST: usize = 32;

/// Where a text comes from, so that its nodes can say so.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A file, by name.
    File(Arc<str>),
    /// `--set`, by key.
    Set(Arc<str>),
}

impl Source {
    pub(super) fn at(&self, line: usize, column: usize) -> Origin {
        match self {
            Self::File(file) => Origin::File { file: Arc::clone(file), line, column },
            Self::Set(key) => Origin::Set(Arc::clone(key)),
        }
    }

    fn of(&self, span: Span) -> Origin {
        self.at(span.start.line(), span.start.col() + 1)
    }
}

/// The tree of the text; none when its syntax is broken or nothing stands in it.
pub(super) fn tree(text: &str, source: &Source, problems: &mut Problems) -> Option<Node> {
    let mut builder = Builder { source, problems, open: Vec::new(), root: None };
    // A byte order mark is no part of the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for event in Parser::new_from_str(text) {
        let taken = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                let at = source.at(error.marker().line(), error.marker().col() + 1);
                Err((at, Wrong::new(format!("this is no YAML: {}", error.info()))))
            }
        };
        if let Err((at, wrong)) = taken {
            problems.push(Problem::new(&at, "", None, wrong));
            return None;
        }
    }
    builder.root
}

/// A list or section whose end has not come yet.
struct Open {
    origin: Origin,
    content: Content,
    /// The key whose value comes next, in a section.
    key: Option<(String, Origin)>,
    /// Whether the next value belongs to no key that we could keep.
    skips: bool,
}

struct Builder<'a> {
    source: &'a Source,
    problems: &'a mut Problems,
    open: Vec<Open>,
    root: Option<Node>,
}

type Fatal = (Origin, Wrong);

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fatal> {
        let origin = self.source.of(span);
        match event {
            Event::Scalar(text, style, _, tag) => {
                self.refuse_tag(&origin, tag);
                self.scalar(origin, text.into_owned(), style != ScalarStyle::Plain);
            }
            Event::Alias(_) => {
                self.refuse(&origin, Wrong::new("aliases (*name) are not read").hint("write the value out"));
                self.put(Node { content: Content::Refused, origin });
            }
            Event::SequenceStart(_, tag) => {
                self.refuse_tag(&origin, tag);
                self.begin(origin, Content::List(Vec::new()))?;
            }
            Event::MappingStart(_, tag) => {
                self.refuse_tag(&origin, tag);
                self.begin(origin, Content::Section(Vec::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { origin, content, .. }) = self.open.pop() {
                    self.put(Node { content, origin });
                }
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err((origin, Wrong::new("a second document begins").hint("one file is one job")));
            }
            Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
        }
        Ok(())
    }

    fn refuse(&mut self, at: &Origin, wrong: Wrong) {
        self.problems.push(Problem::new(at, &self.path(), None, wrong));
    }

    fn refuse_tag(&mut self, at: &Origin, tag: Option<Cow<'_, Tag>>) {
        if let Some(tag) = tag {
            let name = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
            self.refuse(at, Wrong::new(format!("the tag {name} is not read")).hint("leave it out"));
        }
    }

    fn begin(&mut self, origin: Origin, content: Content) -> Result<(), Fatal> {
        if self.open.len() == DEEPEST {
            return Err((origin, Wrong::new(format!("lists and sections are nested deeper than {DEEPEST}"))));
        }
        // A list or section where a key should stand.
        let is_key = self
            .open
            .last()
            .is_some_and(|open| matches!(open.content, Content::Section(_)) && open.key.is_none() && !open.skips);
        if is_key {
            self.refuse(&origin, Wrong::new("a key must be a word"));
        }
        self.open.push(Open { origin, content, key: None, skips: false });
        Ok(())
    }

    fn scalar(&mut self, origin: Origin, text: String, is_quoted: bool) {
        match self.open.last() {
            Some(open) if matches!(open.content, Content::Section(_)) && open.key.is_none() && !open.skips => {
                self.key(origin, text);
            }
            _ => self.put(Node { content: Content::Scalar(Scalar { text, is_quoted }), origin }),
        }
    }

    fn key(&mut self, origin: Origin, key: String) {
        let Some(open) = self.open.last_mut() else { return };
        let Content::Section(entries) = &open.content else { return };
        let wrong = if key == "<<" {
            Wrong::new("merge keys (<<) are not read").hint("write the keys out")
        } else if let Some(first) = entries.iter().find(|entry| entry.key == key) {
            Wrong::new(format!("{} stands twice, first at {}", short(&key), first.origin)).hint("keep one of them")
        } else {
            open.key = Some((key, origin));
            return;
        };
        open.skips = true;
        self.refuse(&origin, wrong);
    }

    /// A whole value: the root, a list's item, a key's value, or (refused above) a key.
    fn put(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match (&mut open.content, open.key.take()) {
            (Content::List(items), _) => items.push(node),
            (Content::Section(entries), Some((key, origin))) => entries.push(Entry { key, origin, node }),
            // The end of a key that is no word, or the value of a key that was refused.
            _ => open.skips = !open.skips,
        }
    }

    /// Where we are, as a key path.
    fn path(&self) -> String {
        self.open.iter().fold(String::new(), |path, open| match (&open.content, &open.key) {
            (Content::List(items), _) => format!("{path}[{}]", items.len()),
            (_, Some((key, _))) if path.is_empty() => key.clone(),
            (_, Some((key, _))) => format!("{path}.{key}"),
            (_, None) => path,
        })
    }
}
