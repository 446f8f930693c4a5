//! Errors of LibTorch, as sentences.

/// LibTorch, or a Rust autograd node inside it, refused.
#[derive(Debug, thiserror::Error)]
pub enum TorchError {
    /// An operation failed; LibTorch's first line says why.
    #[error("{op}: {reason}")]
    Refused {
        /// Which operation.
        op: &'static str,
        /// In LibTorch's words, without its stack trace.
        reason: String,
    },
    /// A shared library does not load.
    #[error("{library} does not load: {reason}")]
    Library {
        /// Its name.
        library: &'static str,
        /// In the loader's words.
        reason: String,
    },
    /// From an operation that tch binds.
    #[error(transparent)]
    Tch(#[from] tch::TchError),
}
