//! Messages as flows: one for every path of a message.

use std::ops::Range;

use super::{MessageId, Traffic, Way};
use crate::flow::{Flow, FlowId, LinkId};
use crate::{NoRoute, Routes};

/// Flows, and which of them each message became.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routed {
    /// In the order of the messages.
    pub flows: Vec<Flow>,
    /// Of each message: the number of flows up to its last.
    until: Vec<u32>,
}

impl Routed {
    /// The flows of a message.
    pub fn of(&self, message: MessageId) -> Range<usize> {
        let m = message.0 as usize;
        let first = if m == 0 { 0 } else { self.until[m - 1] };
        first as usize..self.until[m] as usize
    }

    /// When a message had ended, where `finish` are the ends of the flows.
    pub fn end(&self, message: MessageId, finish: &[f64]) -> f64 {
        finish[self.of(message)].iter().copied().fold(0.0, f64::max)
    }
}

impl Traffic {
    /// Routes every message. A message waits for all flows of those that it waits for. The number of a message is the
    /// key by which hashes tell it from others between the same endpoints.
    ///
    /// # Errors
    /// When no path is left between two endpoints.
    pub fn flows(&self, routes: &mut dyn Routes) -> Result<Routed, NoRoute> {
        let mut routed = Routed::default();
        for (number, message) in (0_u64..).zip(self.messages()) {
            let deps: Vec<FlowId> =
                message.deps.iter().flat_map(|&dep| routed.of(dep)).map(|flow| FlowId(flow as u32)).collect();
            let flows = &mut routed.flows;
            let mut give = |share: f64, path: &[LinkId]| {
                let (bytes, delay) = (message.bytes * share, message.delay);
                flows.push(Flow { bytes, start: 0.0, delay, deps: deps.clone(), path: path.to_vec() });
            };
            match &message.way {
                Way::Nowhere => give(1.0, &[]),
                Way::Links(links) => give(1.0, links),
                Way::Routed { from, to } if from == to => give(1.0, &[]),
                Way::Routed { from, to } => routes.paths(*from, *to, number, &mut give)?,
            }
            routed.until.push(routed.flows.len() as u32);
        }
        Ok(routed)
    }
}
