//! How rows reach the experts that they were sent to, and come back.

mod leg;
mod visits;

use tch::Tensor;

use crate::{ModelError, SequenceExchange};

pub use leg::Leg;
pub use visits::{Visitors, Visits};

/// Where the rows of one microbatch and layer go. Rows are ordered by expert; within an expert by token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Rows that this rank sends to every expert of the layer, e of them.
    pub sent: Vec<i64>,
    /// Rows that arrive here for each expert that lives here.
    pub arrived: Vec<i64>,
    /// Rows that arrive from every rank for each expert that lives here: `[source][local expert]`.
    pub arrived_from: Vec<Vec<i64>>,
}

/// Something that is on its way: calling it waits for it.
pub type Coming<'a, T> = Box<dyn FnOnce() -> Result<T, ModelError> + 'a>;

/// Rows that are on their way.
pub type Arrival<'a> = Coming<'a, Tensor>;

/// Moves rows between the ranks that share a layer's experts. Every rank makes the same calls in the same order.
///
/// What arrives is ordered by local expert, then by the rank that sent it, then by token.
pub trait ExpertExchange {
    /// Tells every rank how many rows it gets; `sent` counts this rank's rows for each of all experts.
    ///
    /// # Errors
    /// When a peer fails.
    fn route<'a>(&'a self, sent: Vec<i64>) -> Result<Coming<'a, Route>, ModelError>;

    /// Starts rows (`[sum of sent, d]`) on their way to their experts; gives what arrived, `[sum of arrived, d]`.
    ///
    /// # Errors
    /// When a peer fails.
    fn dispatch<'a>(&'a self, route: &Route, rows: &Tensor) -> Result<Arrival<'a>, ModelError>;

    /// Starts the way back: from the order in which [`ExpertExchange::dispatch`] gave rows to that in which it took them.
    ///
    /// # Errors
    /// When a peer fails.
    fn combine<'a>(&'a self, route: &Route, rows: &Tensor) -> Result<Arrival<'a>, ModelError>;

    /// The other way to move tokens, where this exchange takes it: each once to every rank, results added on the way back.
    fn summing(&self) -> Option<&dyn SummingExchange> {
        None
    }

    /// How ranks that share sequences reach each other; none where each has whole ones.
    fn sequences(&self) -> Option<&dyn SequenceExchange> {
        None
    }
}

/// Moves tokens, each once to every rank with experts for it, and adds results on their way back. Every rank makes the
/// same calls in the same order.
///
/// What goes there and what comes back are each other's adjoint: backward goes the same ways the other way round.
pub trait SummingExchange {
    /// Tells the ranks of the experts what will come: the experts of this rank's n tokens and the gate's weights, both
    /// `[n, k]`.
    ///
    /// # Errors
    /// When a peer fails.
    fn route<'a>(&'a self, experts: &Tensor, weights: &Tensor) -> Result<Coming<'a, Visits>, ModelError>;

    /// Starts tokens, `[n, d]`, on their way; gives those that came here, `[v, d]`.
    ///
    /// # Errors
    /// When a peer fails.
    fn dispatch<'a>(&'a self, visits: &Visits, tokens: &Tensor) -> Result<Arrival<'a>, ModelError>;

    /// Starts the way back of a row for each token that came here, `[v, d]`; gives the sum, `[n, d]`, for each of this
    /// rank's tokens.
    ///
    /// # Errors
    /// When a peer fails.
    fn combine<'a>(&'a self, visits: &Visits, sums: &Tensor) -> Result<Arrival<'a>, ModelError>;

    /// Brings the gradients of weights, `[v, k]`, home: `[n, k]`, in the format that they have.
    ///
    /// # Errors
    /// When a peer fails.
    fn return_weights(&self, visits: &Visits, gradients: &Tensor) -> Result<Tensor, ModelError>;
}

/// All experts live here.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneRank;

impl ExpertExchange for OneRank {
    fn route<'a>(&'a self, sent: Vec<i64>) -> Result<Coming<'a, Route>, ModelError> {
        Ok(Box::new(move || Ok(Route { arrived: sent.clone(), arrived_from: vec![sent.clone()], sent })))
    }

    fn dispatch<'a>(&'a self, _: &Route, rows: &Tensor) -> Result<Arrival<'a>, ModelError> {
        let rows = rows.shallow_clone();
        Ok(Box::new(move || Ok(rows)))
    }

    fn combine<'a>(&'a self, _: &Route, rows: &Tensor) -> Result<Arrival<'a>, ModelError> {
        let rows = rows.shallow_clone();
        Ok(Box::new(move || Ok(rows)))
    }
}
