//! An operation under way.

use std::sync::Arc;
use std::time::Instant;

use tch::Tensor;

use super::cards::{Asked, CardGroup, Flight};
use super::error::CommError;
use super::shared::Shared;
use super::state::OperationId;

/// The result of an operation that was started. Dropping it does not cancel the operation: peers still get what they
/// need.
#[must_use = "the result of an operation, or its failure, is learned by waiting"]
pub struct Pending<T> {
    under_way: UnderWay,
    finish: Finish<T>,
}

type Finish<T> = Box<dyn FnOnce(Vec<Tensor>) -> Result<T, CommError> + Send>;

enum UnderWay {
    Messages(Arc<Shared>, OperationId),
    /// The stream of a card fills the tensor.
    Card(Arc<CardGroup>, Arc<Flight>, Tensor),
    /// It is received when somebody waits for it.
    Asked(Arc<CardGroup>, Asked),
    /// It leaves this rank by itself.
    Sent(Arc<CardGroup>),
    /// It could not be started.
    Failed(CommError),
    Over,
}

impl<T> Pending<T> {
    pub(super) fn new(
        shared: &Arc<Shared>,
        operation: OperationId,
        finish: impl FnOnce(Vec<Tensor>) -> Result<T, CommError> + Send + 'static,
    ) -> Self {
        Self { under_way: UnderWay::Messages(Arc::clone(shared), operation), finish: Box::new(finish) }
    }

    pub(super) fn failed(error: CommError) -> Self {
        Self { under_way: UnderWay::Failed(error), finish: Box::new(|_| unreachable!("it was never started")) }
    }

    /// Waits until the operation has ended, but not after `deadline`; on a card, until its stream holds back what is given
    /// to it from now on, which is all that is needed to use the result there.
    ///
    /// # Errors
    /// When the group failed, members do not mean the same operation, or the deadline passed.
    pub fn wait(mut self, deadline: Instant) -> Result<T, CommError> {
        let output = match std::mem::replace(&mut self.under_way, UnderWay::Over) {
            UnderWay::Messages(shared, operation) => {
                let output = shared.wait(operation, deadline);
                if output.is_err() {
                    shared.abandon(operation);
                }
                output?
            }
            UnderWay::Card(group, flight, tensor) => {
                group.hold(&flight)?;
                vec![tensor]
            }
            UnderWay::Asked(group, asked) => {
                let (flight, tensor) = group.come(asked)?;
                group.hold(&flight)?;
                vec![tensor]
            }
            UnderWay::Sent(group) => {
                if let Some(error) = group.failure() {
                    return Err(error);
                }
                Vec::new()
            }
            UnderWay::Failed(error) => return Err(error),
            UnderWay::Over => unreachable!("a result is taken once"),
        };
        let finish = std::mem::replace(&mut self.finish, Box::new(|_| unreachable!("a result is taken once")));
        finish(output)
    }

    /// Whether a wait would return at once.
    pub fn is_done(&self) -> bool {
        match &self.under_way {
            UnderWay::Messages(shared, operation) => shared.is_done(*operation),
            UnderWay::Card(_, flight, _) => flight.has_ended(),
            UnderWay::Asked(..) => false,
            UnderWay::Sent(_) | UnderWay::Failed(_) | UnderWay::Over => true,
        }
    }
}

impl Pending<Tensor> {
    pub(super) fn on_card(group: Arc<CardGroup>, flight: Arc<Flight>, output: Tensor) -> Self {
        Self { under_way: UnderWay::Card(group, flight, output), finish: Box::new(first) }
    }

    pub(super) fn asked(group: Arc<CardGroup>, asked: Asked) -> Self {
        Self { under_way: UnderWay::Asked(group, asked), finish: Box::new(first) }
    }
}

impl Pending<()> {
    /// The copy that was made is what is sent, so nobody need wait for it; a stream that did would hold back what the other
    /// side waits for.
    pub(super) fn sent(group: Arc<CardGroup>) -> Self {
        Self { under_way: UnderWay::Sent(group), finish: Box::new(|_| Ok(())) }
    }
}

fn first(mut tensors: Vec<Tensor>) -> Result<Tensor, CommError> {
    Ok(tensors.remove(0))
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.under_way, UnderWay::Over) {
            UnderWay::Messages(shared, operation) => shared.abandon(operation),
            // The sender is not left alone; what fails here has failed the group.
            UnderWay::Asked(group, asked) => drop(group.come(asked)),
            UnderWay::Card(..) | UnderWay::Sent(_) | UnderWay::Failed(_) | UnderWay::Over => (),
        }
    }
}
