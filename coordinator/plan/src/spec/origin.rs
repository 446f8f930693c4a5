//! Where a value comes from.

use std::fmt;
use std::sync::Arc;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It stands in the file.
    File {
        /// As the user named it.
        file: Arc<str>,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
    /// The named model has it.
    Preset(&'static str),
    /// `--set`, with this key as it was typed.
    Set(Arc<str>),
    /// Nobody said anything.
    Default,
    /// Nobody said anything, so it is that other field's value.
    SameAs(&'static str),
}

impl Origin {
    /// Whether the user wrote it, in the file or on the command line.
    pub(super) fn is_written(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Set(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Preset(name) => write!(f, "preset {name}"),
            Self::Set(key) => write!(f, "--set {key}"),
            Self::Default => f.write_str("default"),
            Self::SameAs(path) => write!(f, "default, as {path}"),
        }
    }
}
