//! Published and measured runs: rows of a CSV read, predicted, and compared. No row is dropped: one that cannot be
//! predicted says why.

mod csv;
mod fit;
mod judge;
mod probe;
mod published;
mod row;
mod vtrain;

pub use csv::{CsvError, Table};
pub use fit::{Fit, FitError, fit};
pub use judge::{Group, Judged, Report, Verdict, judge, judge_with};
pub use probe::Probe;
pub use row::{Measure, Row, Rows, read};
