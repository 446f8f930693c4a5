//! Which links each flow crosses, in three flat arrays: flows may share a path.

use super::problem::Flow;

/// Paths, and which flow takes which.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    /// Links of all paths, one path after the other.
    hops: Vec<u32>,
    /// Where each path begins, and where the last ends.
    starts: Vec<u32>,
    /// The path of each flow.
    by_flow: Vec<u32>,
}

impl Paths {
    /// Of flows that each have their own.
    pub(super) fn of_flows(flows: &[Flow]) -> Self {
        let mut paths = Self { hops: Vec::new(), starts: vec![0], by_flow: (0..flows.len() as u32).collect() };
        for flow in flows {
            paths.hops.extend(flow.path.iter().map(|link| link.0));
            paths.starts.push(paths.hops.len() as u32);
        }
        paths
    }

    pub(super) fn n_flows(&self) -> usize {
        self.by_flow.len()
    }

    /// Links that a flow crosses.
    pub(super) fn of(&self, flow: u32) -> &[u32] {
        let path = self.by_flow[flow as usize] as usize;
        &self.hops[self.starts[path] as usize..self.starts[path + 1] as usize]
    }
}
