//! What is out of the ordinary: failures, repairs and slow ranks.

use ds_topology::Routes;

/// A state of the fabric, until the next one.
pub struct Epoch<'a> {
    /// Seconds from the beginning.
    pub from: f64,
    /// Where messages go that begin from then on.
    pub routes: &'a mut dyn Routes,
    /// Links over which nothing passes; empty for none. What is under way on one of them goes on by the new route.
    pub down: Vec<bool>,
}

/// A rank that computes more slowly than others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Straggler {
    /// Who.
    pub rank: u32,
    /// On every computation.
    pub factor: f64,
}
