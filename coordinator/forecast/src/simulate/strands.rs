//! The paths of messages in one state of the fabric.

use std::ops::Range;

use ds_topology::flow::LinkId;

use super::error::SimulateError;
use super::event::Epoch;
use super::job::StepJob;
use super::scene::Scene;

/// The paths of all messages in one state of the fabric; a message has a strand for each of its paths.
#[derive(Clone, Debug, Default)]
pub(super) struct Strands {
    pub(super) message: Vec<u32>,
    pub(super) bytes: Vec<f64>,
    until: Vec<u32>,
    links: Vec<u32>,
    /// Per message: its strands end here.
    of_message: Vec<u32>,
    /// Per link: bytes per second, 0 where nothing passes.
    pub(super) capacity: Vec<f64>,
    pub(super) latency: Vec<f64>,
}

impl Strands {
    pub(super) fn new(job: &StepJob<'_>, scene: &Scene, epoch: &mut Epoch<'_>) -> Result<Self, SimulateError> {
        let network = epoch.routes.network();
        let is_down = |link: usize| epoch.down.get(link).copied().unwrap_or(false);
        let capacity =
            network.iter().enumerate().map(|(link, l)| if is_down(link) { 0.0 } else { l.capacity }).collect();
        let latencies: Vec<f64> = network.iter().map(|link| link.latency).collect();
        let mut strands = Self { capacity, ..Self::default() };
        for (number, message) in (0..).zip(&scene.messages) {
            let (from, to) = (job.seats[message.from as usize], job.seats[message.to as usize]);
            if from != to {
                // The pair is the key: an exchange keeps its queue pairs.
                let key = u64::from(message.from) << 32 | u64::from(message.to);
                epoch.routes.paths(from, to, key, &mut |share, path: &[LinkId]| {
                    strands.message.push(number);
                    strands.bytes.push(message.bytes * share);
                    strands.links.extend(path.iter().map(|link| link.0));
                    strands.until.push(strands.links.len() as u32);
                    strands.latency.push(path.iter().map(|link| latencies[link.0 as usize]).sum());
                })?;
            }
            strands.of_message.push(strands.message.len() as u32);
        }
        Ok(strands)
    }

    pub(super) fn len(&self) -> usize {
        self.message.len()
    }

    pub(super) fn path(&self, strand: usize) -> &[u32] {
        let first = if strand == 0 { 0 } else { self.until[strand - 1] };
        &self.links[first as usize..self.until[strand] as usize]
    }

    pub(super) fn of(&self, message: u32) -> Range<usize> {
        let first = if message == 0 { 0 } else { self.of_message[message as usize - 1] };
        first as usize..self.of_message[message as usize] as usize
    }

    /// Whether a message goes in another state as it goes in this one.
    pub(super) fn are_alike(&self, other: &Self, message: u32) -> bool {
        let (own, others) = (self.of(message), other.of(message));
        own.len() == others.len()
            && own.zip(others).all(|(a, b)| {
                self.bytes[a] == other.bytes[b] && self.latency[a] == other.latency[b] && self.path(a) == other.path(b)
            })
    }
}
