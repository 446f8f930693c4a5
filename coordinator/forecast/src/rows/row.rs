//! A row: a run as somebody published it, ready to be predicted.

use super::csv::{CsvError, Table};
use super::probe::Probe;
use super::{published, vtrain};
use crate::workload::{Layout, Network};

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Seconds of a step.
    Seconds,
    /// Tokens a second of one GPU.
    TokensPerGpu,
    /// Model FLOP/s of one GPU, in tera: over the causal half of attention's pairs, or over all.
    TeraflopsPerGpu {
        /// Which.
        causal: bool,
    },
    /// Model FLOPs of the 16-bit peak, in percent.
    Utilization {
        /// Over which pairs.
        causal: bool,
    },
    /// Tokens of all GPUs a day, in 10⁹.
    TokensPerDay,
    /// Seconds of some parts of a step.
    Parts(&'static [&'static str]),
    /// Something that is no step: kernels or an exchange.
    Probe(Probe),
}

impl Measure {
    /// Whether more is slower.
    pub(super) fn is_time(self) -> bool {
        match self {
            Self::Seconds | Self::Parts(_) => true,
            Self::Probe(probe) => probe.is_time(),
            _ => false,
        }
    }
}

/// A run and what it reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name, or its place in the file from 1.
    pub id: String,
    /// Rows that are judged together.
    pub group: String,
    /// The machine's preset.
    pub hardware: String,
    /// The model.
    pub network: Network,
    /// Its division.
    pub layout: Layout,
    /// What was measured.
    pub measure: Measure,
    /// How much of it.
    pub published: f64,
    /// Whether the source was read; recalled rows are shown and not judged.
    pub judged: bool,
}

/// A row, or its name, its group, and why it cannot be predicted.
pub type Rows = Vec<Result<Row, (String, String, String)>>;

/// Reads the rows of a file in one of the two forms: the columns of the vtrain files, or of the cleaned twin of
/// `published_rows.csv`.
///
/// # Errors
/// When the text is no table.
pub fn read(text: &str) -> Result<Rows, CsvError> {
    let table = Table::parse(text)?;
    let form = if table.has(vtrain::MARK) { vtrain::row } else { published::row };
    Ok((0..table.len()).map(|record| form(&table, record)).collect())
}

/// Reads cells of a record, and remembers what was wrong first.
pub(super) struct Cells<'a> {
    table: &'a Table,
    record: usize,
    pub(super) wrong: Option<String>,
}

impl<'a> Cells<'a> {
    pub(super) fn new(table: &'a Table, record: usize) -> Self {
        Self { table, record, wrong: None }
    }

    pub(super) fn text(&self, column: &str) -> Option<&'a str> {
        self.table.cell(self.record, column)
    }

    /// A positive number.
    pub(super) fn number(&mut self, column: &str) -> f64 {
        let cell = self.text(column);
        let number = cell.and_then(|cell| cell.parse::<f64>().ok()).filter(|n| n.is_finite() && *n > 0.0);
        number.unwrap_or_else(|| {
            self.note(match cell {
                Some(cell) => format!("{column}: {cell} is no positive number"),
                None => format!("{column}: is missing"),
            });
            1.0
        })
    }

    /// A positive whole number.
    pub(super) fn whole(&mut self, column: &str) -> u32 {
        let number = self.number(column);
        if number.fract() != 0.0 || number > f64::from(u32::MAX) {
            self.note(format!("{column}: {number} is no whole number"));
        }
        number as u32
    }

    /// Likewise, with a value where the cell is empty.
    pub(super) fn whole_or(&mut self, column: &str, value: u32) -> u32 {
        if self.text(column).is_some() { self.whole(column) } else { value }
    }

    /// A positive whole number, where there is one; 0 says as much as an empty cell.
    pub(super) fn whole_if(&mut self, column: &str) -> Option<u32> {
        self.text(column).filter(|&cell| cell != "0").map(|_| self.whole(column))
    }

    pub(super) fn note(&mut self, reason: String) {
        self.wrong.get_or_insert(reason);
    }

    /// Whether `a` divides `b`, which is said otherwise.
    pub(super) fn divides(&mut self, (a_name, a): (&str, u32), (b_name, b): (&str, u32)) {
        if a == 0 || !b.is_multiple_of(a) {
            self.note(format!("{a_name} {a} must divide {b_name} {b}"));
        }
    }
}
