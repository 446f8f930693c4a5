//! What can be wrong with one tensor of a set.

/// A tensor that a model does not have, or has otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorProblem {
    /// The model has it, and it is not there.
    #[error("{name} {shape:?} is missing")]
    Missing {
        /// The tensor.
        name: String,
        /// As the config makes it.
        shape: Vec<u64>,
    },
    /// It is there, and the model has no such tensor.
    #[error("{name} is none of the model's")]
    Unexpected {
        /// The tensor.
        name: String,
    },
    /// It has another shape.
    #[error("{name} has shape {found:?}, the config makes it {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// As it is.
        found: Vec<u64>,
        /// As it should be.
        expected: Vec<u64>,
    },
    /// Its elements are of a type that is not read here.
    #[error("{name} has elements of type {found}; {known}")]
    Type {
        /// The tensor.
        name: String,
        /// As it is.
        found: String,
        /// What may stand here.
        known: &'static str,
    },
    /// FP8 codes mean nothing without scales.
    #[error("{name} has elements of type F8_E4M3, but {scales} is missing")]
    NoScales {
        /// The tensor.
        name: String,
        /// What would scale it.
        scales: String,
    },
}
