//! What happens to links and flows during a run.

use super::problem::{FlowId, LinkId};

/// An event from outside. Flows that end at the same moment have ended; flows that begin then begin after it.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A failure (0), a degraded link, a repair.
    Capacity {
        /// When, in seconds.
        at: f64,
        /// Which link.
        link: LinkId,
        /// What it can carry from then on. Flows on a link with 0 stand still until it is repaired.
        bytes_per_s: f64,
    },
    /// What a flow has not carried yet goes over another path. One that is under way goes on at once; one whose first
    /// byte has not left yet takes the latency of the new path. A flow that has ended stays as it is.
    Reroute {
        /// When, in seconds.
        at: f64,
        /// Which flow.
        flow: FlowId,
        /// The links that it crosses from then on.
        path: Vec<LinkId>,
    },
}

impl Change {
    /// When it happens, in seconds.
    pub fn at(&self) -> f64 {
        match self {
            Self::Capacity { at, .. } | Self::Reroute { at, .. } => *at,
        }
    }

    /// Whether it changes the capacity of this link.
    pub(super) fn changes(&self, number: u32) -> bool {
        matches!(self, Self::Capacity { link, .. } if link.0 == number)
    }
}
