//! How rows reach the experts that they were sent to, and come back.

use tch::Tensor;

use crate::ModelError;

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

/// A movement of rows that has started: calling it waits for the end.
pub type Arrival<'a> = Box<dyn FnOnce() -> Result<Tensor, ModelError> + 'a>;

/// Moves rows between the ranks that share a layer's experts. Every rank makes the same calls in the same order.
///
/// What arrives is ordered by local expert, then by the rank that sent it, then by token.
pub trait ExpertExchange {
    /// Tells every rank how many rows it gets; `sent` counts this rank's rows for each of all experts.
    ///
    /// # Errors
    /// When a peer fails.
    fn route(&self, sent: Vec<i64>) -> Result<Route, ModelError>;

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
}

/// All experts live here.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneRank;

impl ExpertExchange for OneRank {
    fn route(&self, sent: Vec<i64>) -> Result<Route, ModelError> {
        Ok(Route { arrived: sent.clone(), arrived_from: vec![sent.clone()], sent })
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
