//! How facts look as text.

pub(crate) mod bars;
pub(crate) mod numbers;
pub(crate) mod plot;
pub(crate) mod table;
