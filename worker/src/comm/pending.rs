//! An operation under way.

use std::sync::Arc;
use std::time::Instant;

use tch::Tensor;

use super::error::CommError;
use super::shared::Shared;
use super::state::OperationId;

/// The result of an operation that was started. Dropping it does not cancel the operation: peers still get what they
/// need.
#[must_use = "the result of an operation, or its failure, is learned by waiting"]
pub struct Pending<T> {
    shared: Arc<Shared>,
    operation: OperationId,
    finish: Box<dyn FnOnce(Vec<Tensor>) -> Result<T, CommError> + Send>,
}

impl<T> Pending<T> {
    pub(super) fn new(
        shared: &Arc<Shared>,
        operation: OperationId,
        finish: impl FnOnce(Vec<Tensor>) -> Result<T, CommError> + Send + 'static,
    ) -> Self {
        Self { shared: Arc::clone(shared), operation, finish: Box::new(finish) }
    }

    /// Waits until the operation has ended, but not after `deadline`.
    ///
    /// # Errors
    /// When the group failed, members do not mean the same operation, or the deadline passed.
    pub fn wait(mut self, deadline: Instant) -> Result<T, CommError> {
        let output = self.shared.wait(self.operation, deadline)?;
        let finish = std::mem::replace(&mut self.finish, Box::new(|_| unreachable!("a result is taken once")));
        finish(output)
    }

    /// Whether a wait would return at once.
    pub fn is_done(&self) -> bool {
        self.shared.is_done(self.operation)
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.shared.abandon(self.operation);
    }
}
