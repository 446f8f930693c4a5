//! Which links each flow crosses, in three flat arrays: flows may share a path.

/// A path of a set of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathId(pub(super) u32);

/// Paths, and which flow takes which.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// Links of all paths, one path after the other.
    hops: Vec<u32>,
    /// Where each path begins, and where the last ends.
    starts: Vec<u32>,
    /// The path of each flow.
    by_flow: Vec<PathId>,
}

impl Default for Paths {
    fn default() -> Self {
        Self { hops: Vec::new(), starts: vec![0], by_flow: Vec::new() }
    }
}

impl Paths {
    pub(super) fn n_flows(&self) -> usize {
        self.by_flow.len()
    }

    /// Makes room for as many more, so that large sets grow in one step.
    pub(super) fn reserve(&mut self, n_flows: usize, n_hops: usize) {
        self.by_flow.reserve_exact(n_flows);
        self.starts.reserve_exact(n_flows);
        self.hops.reserve_exact(n_hops);
    }

    /// A new path.
    pub(super) fn add(&mut self, links: impl IntoIterator<Item = u32>) -> PathId {
        self.hops.extend(links);
        // Four billion hops would not fit the memory of one machine.
        self.starts.push(u32::try_from(self.hops.len()).expect("paths have fewer than 2^32 hops"));
        PathId(self.starts.len() as u32 - 2)
    }

    /// The next flow takes this path.
    pub(super) fn push_flow(&mut self, path: PathId) {
        self.by_flow.push(path);
    }

    /// The flow takes this path from now on.
    pub(super) fn change(&mut self, flow: u32, path: PathId) {
        self.by_flow[flow as usize] = path;
    }

    /// Links that a flow crosses.
    #[inline]
    pub(super) fn of(&self, flow: u32) -> &[u32] {
        let PathId(path) = self.by_flow[flow as usize];
        &self.hops[self.starts[path as usize] as usize..self.starts[path as usize + 1] as usize]
    }

    /// The greatest number of a link, if any flow crosses one.
    pub(super) fn last_link(&self) -> Option<u32> {
        self.hops.iter().max().copied()
    }
}
