//! What can be wrong with one tensor.

use std::fmt::Display;
use std::ops::Range;

/// A rule that a tensor, or what was asked of it, breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Too many or too few ranges.
    #[error("{found} ranges for {expected} dimensions; there must be one a dimension")]
    Dimensions {
        /// Ranges.
        found: usize,
        /// Dimensions.
        expected: usize,
    },
    /// More dimensions than the format takes.
    #[error("{found} dimensions; the format takes {most}")]
    TooManyDimensions {
        /// Of the tensor.
        found: usize,
        /// Of the format.
        most: usize,
    },
    /// A range that is backwards or leaves the tensor.
    #[error("range {start}..{end} of dimension {dimension} is not within 0..{size}")]
    Outside {
        /// From 0.
        dimension: usize,
        /// Of the range.
        start: u64,
        /// Of the range.
        end: u64,
        /// Of the dimension.
        size: u64,
    },
    /// Bytes and elements do not agree.
    #[error("{found} bytes for box {}, which takes {expected}", ranges(range))]
    Bytes {
        /// Which box.
        range: Vec<Range<u64>>,
        /// As given.
        found: u64,
        /// Elements times the size of one.
        expected: u64,
    },
    /// Numbers that no machine holds.
    #[error("shape {shape:?} has more than {} bytes", u64::MAX)]
    TooLarge {
        /// Of the tensor.
        shape: Vec<u64>,
    },
    /// Two pieces hold the same element.
    #[error(
        "box {} of {first_file} and box {} of {second_file} overlap; every element is written once",
        ranges(first),
        ranges(second)
    )]
    Overlap {
        /// One of them.
        first: Vec<Range<u64>>,
        /// Where it lies.
        first_file: String,
        /// The other.
        second: Vec<Range<u64>>,
        /// Where it lies.
        second_file: String,
    },
    /// No piece holds an element.
    #[error("nobody wrote box {}: {covered} of {elements} elements are there", ranges(range))]
    Hole {
        /// A box that is missing.
        range: Vec<Range<u64>>,
        /// Elements that are there.
        covered: u64,
        /// Elements of the tensor.
        elements: u64,
    },
    /// Two writers have different ideas of a tensor.
    #[error("{first_file} holds it as {first}, {second_file} as {second}; all writers must agree")]
    Disagree {
        /// Element and shape.
        first: String,
        /// Who says so.
        first_file: String,
        /// Element and shape.
        second: String,
        /// Who says so.
        second_file: String,
    },
    /// It lies in a file that the checkpoint does not have.
    #[error("it lies in file {file:?}, which the manifest does not list")]
    File {
        /// As the piece says.
        file: String,
    },
    /// Records are sorted by name and kind, each there once.
    #[error("it stands behind {before}; records stand in the order of names and kinds, each once")]
    Order {
        /// The record before it.
        before: String,
    },
}

/// A box as people read it.
fn ranges(of: &[Range<u64>]) -> String {
    list(of.iter().map(|range| format!("{}..{}", range.start, range.end)))
}

fn list(of: impl Iterator<Item = impl Display>) -> String {
    format!("[{}]", of.map(|one| one.to_string()).collect::<Vec<_>>().join(", "))
}
