//! A report as one HTML page: facts first, then sections of pictures, tables and text. It needs no network and no
//! script, and escapes all that it is given.

mod html;
mod style;

pub use html::html;

use crate::picture::Picture;

/// A report.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// What it is about.
    pub title: String,
    /// In a sentence, below the title.
    pub subtitle: String,
    /// The answer, before everything else.
    pub verdict: Verdict,
    /// Large, side by side.
    pub facts: Vec<Fact>,
    /// In order.
    pub sections: Vec<Section>,
}

/// The answer in a sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Good or bad.
    pub tone: Tone,
    /// The sentence.
    pub text: String,
}

/// Whether something is as one would wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It is.
    Good,
    /// It is not.
    Bad,
    /// Neither.
    Plain,
}

/// A number that people look for first.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// With its unit.
    pub value: String,
    /// What it means or is made of, small.
    pub note: String,
}

/// A chapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Above.
    pub title: String,
    /// In order.
    pub parts: Vec<Block>,
}

/// A piece of a chapter.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// Drawn within the page.
    Picture(Picture),
    /// Rows and columns.
    Table(Table),
    /// To be copied, as it stands.
    Code(String),
    /// Points.
    List(Vec<String>),
}

/// Rows and columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub head: Vec<String>,
    /// As many cells as there are columns.
    pub rows: Vec<Vec<String>>,
    /// A row that stands out, such as the best or the chosen one.
    pub marked: Option<usize>,
}

impl Table {
    /// From words; no row stands out.
    pub fn new(head: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self { head: head.iter().map(|&name| name.to_owned()).collect(), rows, marked: None }
    }
}
