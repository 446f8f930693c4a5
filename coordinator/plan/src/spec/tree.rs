//! YAML as a tree whose every node knows where it comes from.

use super::origin::Origin;

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) origin: Origin,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Section(Vec<Entry>),
    /// Something that was refused already; nothing more is said about it.
    Refused,
}

/// A leaf as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// In quotes, or a block: text, whatever it looks like.
    pub(super) is_quoted: bool,
}

/// A key of a section.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Of the key.
    pub(super) origin: Origin,
    pub(super) node: Node,
}

impl Scalar {
    pub(super) fn is_null(&self) -> bool {
        !self.is_quoted && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.is_null())
    }

    /// As a message shows it.
    pub(super) fn shown(&self) -> Option<String> {
        match &self.content {
            Content::Scalar(scalar) if scalar.is_null() => Some("null".to_owned()),
            Content::Scalar(scalar) if scalar.is_quoted => Some(format!("{:?}", short(&scalar.text))),
            Content::Scalar(scalar) => Some(short(&scalar.text)),
            Content::List(_) => Some("a list".to_owned()),
            Content::Section(_) => Some("a section".to_owned()),
            Content::Refused => None,
        }
    }

    /// The node at a key of a section.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Section(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            _ => None,
        }
    }
}

/// Enough of a text to know it again, on one line.
pub(super) fn short(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    let rest = if line.len() < text.len() || line.chars().count() > MOST { "…" } else { "" };
    let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    line.chars().take(MOST).map(visible).chain(rest.chars()).collect()
}
